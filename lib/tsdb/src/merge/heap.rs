//! A heap whose order among equals is defined.

/// A binary heap, smallest first, that moves items as Go's `container/heap` does.
///
/// Which of several equal items comes first decides, in rare cases, what a merged block holds; only with the same
/// moves is it what Prometheus and Thanos write.
#[derive(Debug, Clone)]
pub(super) struct Heap<T> {
    items: Vec<T>,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T: PartialOrd> Heap<T> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The items, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// The item that [`pop`](Self::pop) would give.
    pub(super) fn peek(&self) -> Option<&T> {
        self.items.first()
    }

    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
        let mut child = self.items.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.less(child, parent) {
                break;
            }
            self.items.swap(child, parent);
            child = parent;
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        self.items.swap(0, last);
        let popped = self.items.pop();
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= self.items.len() {
                return popped;
            }
            let right = left + 1;
            let child = if self.less(right, left) { right } else { left };
            if !self.less(child, parent) {
                return popped;
            }
            self.items.swap(parent, child);
            parent = child;
        }
    }

    /// Whether the first item exists and is strictly less than the second.
    fn less(&self, one: usize, other: usize) -> bool {
        match (self.items.get(one), self.items.get(other)) {
            (Some(one), Some(other)) => one < other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number that is compared by its tens alone.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Tens(u32);

    impl PartialOrd for Tens {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            (self.0 / 10).partial_cmp(&(other.0 / 10))
        }
    }

    /// Worked out by hand from the moves.
    #[test]
    fn equals_come_in_the_order_that_the_moves_give() {
        let mut heap = Heap::default();
        for number in [11, 12, 13, 14] {
            heap.push(Tens(number));
        }
        let order: Vec<u32> = std::iter::from_fn(|| heap.pop()).map(|tens| tens.0).collect();
        assert_eq!(order, [11, 14, 13, 12]);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_sorted(numbers: Vec<u16>) {
            let mut heap = Heap::default();
            for &number in &numbers {
                heap.push(number);
            }
            prop_assert_eq!(heap.peek(), numbers.iter().min());
            let popped: Vec<u16> = std::iter::from_fn(|| heap.pop()).collect();
            let mut sorted = numbers;
            sorted.sort_unstable();
            prop_assert_eq!(popped, sorted);
            prop_assert_eq!(heap.len(), 0);
        }
    }
}
