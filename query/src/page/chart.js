'use strict';
// A graph of series over time, drawn on a canvas; legend and tooltip are elements.

// Told apart by most people with colour blindness too; light on dark and dark on light.
const COLOURS = {
  light: ['#1f6fb2', '#c2410c', '#15803d', '#a21caf', '#854d0e', '#0e7490', '#be123c', '#4338ca', '#4d7c0f', '#6b7280'],
  dark: ['#60a5fa', '#fb923c', '#4ade80', '#e879f9', '#facc15', '#22d3ee', '#fb7185', '#a5b4fc', '#a3e635', '#cbd5e1'],
};
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800, 1209600, 2592000, 7776000, 31536000];
const HEIGHT = 360;
const MOST_LINES = 1000;

/** Round numbers between `low` and `high`, about `wanted` of them. */
function ticks(low, high, wanted) {
  const raw = (high - low) / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= raw * 0.999) || power * 10;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) {
    found.push(Number((at * step).toPrecision(12)));
  }
  return found;
}

function timeTicks(start, end, wanted) {
  const step = TIME_STEPS.find((candidate) => (end - start) / candidate <= wanted) || TIME_STEPS[TIME_STEPS.length - 1];
  const found = [];
  for (let t = Math.ceil(start / step) * step; t <= end; t += step) found.push(t);
  return { found, step };
}

function timeLabel(t, step) {
  const text = formatTime(t * SECOND);
  if (step >= 86400) return text.slice(5, 10);
  if (t % 86400 === 0) return text.slice(5, 10);
  return step < 60 ? text.slice(11) : text.slice(11, 16);
}

/** A result of `query_range` as lines on the grid of steps; what is missing is NaN. */
function linesOf(result, start, end, step) {
  const size = Math.floor((end - start) / step + 1e-9) + 1;
  return result.slice(0, MOST_LINES).map((series) => {
    const values = new Float64Array(size).fill(NaN);
    const put = (t, value) => {
      const at = Math.round((t - start) / step);
      if (at >= 0 && at < size) values[at] = value;
    };
    for (const [t, value] of series.values || []) put(t, parseFloat(value.replace('Inf', 'Infinity')));
    for (const [t, histogram] of series.histograms || []) put(t, parseFloat(histogram.count));
    return { labels: series.metric, values, histogram: !series.values && !!series.histograms };
  });
}

/** Names by what tells series apart; the whole name if nothing does. */
function shortNames(sets) {
  const differing = new Set();
  for (const labels of sets) {
    for (const name of Object.keys({ ...labels, ...sets[0] })) if (labels[name] !== sets[0][name]) differing.add(name);
  }
  return sets.map((labels) => {
    const told = Object.entries(labels).filter(([name]) => differing.has(name));
    return told.length ? seriesName(Object.fromEntries(told)) : seriesName(labels);
  });
}

class Chart {
  /** `zoomed(start, end)` is called with seconds when a range was chosen. */
  constructor(element, legend, zoomed) {
    Object.assign(this, { element, legend, zoomed, lines: [], hidden: new Set(), at: null, stacked: false });
    this.canvas = make('canvas', { 'aria-hidden': 'true' });
    this.tip = make('div', { class: 'tip', hidden: true });
    this.mark = make('div', { class: 'mark', hidden: true });
    element.append(this.canvas, this.mark, this.tip);
    new ResizeObserver(() => this.draw()).observe(element);
    element.addEventListener('pointermove', (event) => this.point(event));
    element.addEventListener('pointerleave', () => this.leave());
    element.addEventListener('pointerdown', (event) => this.press(event));
    element.addEventListener('pointerup', (event) => this.release(event));
    element.addEventListener('pointercancel', () => { this.pressed = null; this.leave(); });
    element.addEventListener('keydown', (event) => this.key(event));
    element.addEventListener('blur', () => this.leave());
  }

  set(lines, start, end, step) {
    Object.assign(this, { lines, start, end, step, hidden: new Set(), at: null });
    this.names = shortNames(lines.map((line) => line.labels));
    this.tip.hidden = true;
    this.drawLegend();
    this.draw();
  }

  get palette() {
    return COLOURS[document.documentElement.dataset.dark === 'yes' ? 'dark' : 'light'];
  }

  colour(number) {
    return this.palette[number % this.palette.length];
  }

  visible() {
    return this.lines.map((line, number) => ({ ...line, number })).filter(({ number }) => !this.hidden.has(number));
  }

  /** Lines as they are drawn: if stacked each on those below. */
  drawn() {
    const lines = this.visible();
    if (!this.stacked) return lines.map((line) => ({ ...line, tops: line.values, floors: null }));
    const sum = { up: null, down: null };
    return lines.map((line) => {
      const size = line.values.length;
      sum.up = sum.up || new Float64Array(size);
      const floors = Float64Array.from(sum.up);
      const tops = floors.map((floor, at) => floor + (isFinite(line.values[at]) ? line.values[at] : 0));
      sum.up = tops;
      return { ...line, tops, floors };
    });
  }

  bounds(lines) {
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      for (const value of line.tops) {
        if (!isFinite(value)) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (this.stacked) low = Math.min(low, 0);
    if (low > high) return [0, 1];
    if (low === high) {
      const room = Math.abs(low) * 0.1 || 1;
      return [low - room, high + room];
    }
    const room = (high - low) * 0.05;
    // Values that are close to zero for their spread are shown with zero.
    const floor = low >= 0 && low < (high - low) * 0.4 ? 0 : low - room;
    return [floor, high + room];
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width || this.start === undefined) return;
    const height = Math.min(HEIGHT, Math.max(220, width * 0.6));
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const pen = this.canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue(name).trim();
    pen.font = `12px ${style.getPropertyValue('--sans')}`;
    const lines = this.drawn();
    const [low, high] = this.bounds(lines);
    const marks = ticks(low, high, height / 60);
    const left = Math.ceil(Math.max(...marks.map((mark) => pen.measureText(shortNumber(mark)).width), 20)) + 14;
    const box = { left, right: width - 10, top: 10, bottom: height - 26 };
    this.box = box;
    this.x = (t) => box.left + ((t - this.start) / (this.end - this.start || 1)) * (box.right - box.left);
    this.y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    this.drawAxes(pen, ink, marks);
    pen.save();
    pen.beginPath();
    pen.rect(box.left, box.top - 2, box.right - box.left + 2, box.bottom - box.top + 4);
    pen.clip();
    for (const line of this.stacked ? [...lines].reverse() : lines) this.drawLine(pen, line);
    pen.restore();
    if (this.at !== null) this.drawCross(pen, ink, lines);
  }

  drawAxes(pen, ink, marks) {
    const { left, right, top, bottom } = this.box;
    pen.lineWidth = 1;
    pen.strokeStyle = ink('--grid');
    pen.fillStyle = ink('--dim');
    pen.textBaseline = 'middle';
    pen.textAlign = 'right';
    for (const mark of marks) {
      const y = Math.round(this.y(mark)) + 0.5;
      stroke(pen, left, y, right, y);
      pen.fillText(shortNumber(mark), left - 8, y);
    }
    pen.textAlign = 'center';
    pen.textBaseline = 'top';
    const { found, step } = timeTicks(this.start, this.end, Math.max(2, Math.floor((right - left) / 75)));
    for (const t of found) {
      const x = Math.round(this.x(t)) + 0.5;
      stroke(pen, x, top, x, bottom);
      const label = timeLabel(t, step);
      const half = pen.measureText(label).width / 2;
      if (x - half > 0 && x + half < right + 10) pen.fillText(label, x, bottom + 8);
    }
    pen.strokeStyle = ink('--axis');
    stroke(pen, left, bottom + 0.5, right, bottom + 0.5);
  }

  drawLine(pen, line) {
    const colour = this.colour(line.number);
    const faded = this.focus !== undefined && this.focus !== line.number;
    pen.globalAlpha = faded ? 0.2 : 1;
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.lineWidth = this.focus === line.number ? 2.5 : 1.5;
    pen.lineJoin = 'round';
    const at = (index) => this.x(this.start + index * this.step);
    if (this.stacked) {
      pen.beginPath();
      line.tops.forEach((value, index) => pen.lineTo(at(index), this.y(value)));
      for (let index = line.floors.length - 1; index >= 0; index -= 1) pen.lineTo(at(index), this.y(line.floors[index]));
      pen.globalAlpha *= 0.35;
      pen.fill();
      pen.globalAlpha = faded ? 0.2 : 1;
    }
    pen.beginPath();
    let open = false;
    const { tops } = line;
    for (let index = 0; index < tops.length; index += 1) {
      const value = tops[index];
      if (!isFinite(value)) {
        open = false;
        continue;
      }
      if (!open && !isFinite(tops[index + 1])) pen.fillRect(at(index) - 1.5, this.y(value) - 1.5, 3, 3);
      if (open) pen.lineTo(at(index), this.y(value));
      else pen.moveTo(at(index), this.y(value));
      open = true;
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawCross(pen, ink, lines) {
    const x = Math.round(this.x(this.start + this.at * this.step)) + 0.5;
    pen.strokeStyle = ink('--dim');
    stroke(pen, x, this.box.top, x, this.box.bottom);
    for (const line of lines) {
      if (!isFinite(line.values[this.at])) continue;
      pen.fillStyle = this.colour(line.number);
      pen.beginPath();
      pen.arc(x, this.y(line.tops[this.at]), 3, 0, 7);
      pen.fill();
    }
  }

  point(event) {
    if (!this.box || !this.lines.length) return;
    const place = this.element.getBoundingClientRect();
    const x = event.clientX - place.left;
    this.show(Math.round(((x - this.box.left) / (this.box.right - this.box.left)) * ((this.end - this.start) / this.step)),
      event.clientY - place.top);
    if (this.pressed !== undefined && this.pressed !== null) {
      const [from, to] = [Math.min(this.pressed, x), Math.max(this.pressed, x)];
      this.mark.hidden = to - from < 8;
      this.mark.style.left = `${from}px`;
      this.mark.style.width = `${to - from}px`;
      this.mark.style.height = `${this.box.bottom}px`;
    }
  }

  press(event) {
    if (event.pointerType === 'touch' || !this.box) return;
    this.pressed = event.clientX - this.element.getBoundingClientRect().left;
  }

  release(event) {
    const from = this.pressed;
    this.pressed = null;
    this.mark.hidden = true;
    if (from === undefined || from === null) return;
    const to = event.clientX - this.element.getBoundingClientRect().left;
    if (Math.abs(to - from) < 8) return;
    const time = (x) => {
      const share = Math.min(1, Math.max(0, (x - this.box.left) / (this.box.right - this.box.left)));
      return this.start + share * (this.end - this.start);
    };
    this.zoomed(time(Math.min(from, to)), time(Math.max(from, to)));
  }

  key(event) {
    if (!this.lines.length) return;
    const last = this.lines[0].values.length - 1;
    const at = this.at === null ? last : this.at;
    const stride = event.shiftKey ? 10 : 1;
    if (event.key === 'ArrowLeft') this.show(Math.max(0, at - stride), 40);
    else if (event.key === 'ArrowRight') this.show(Math.min(last, at + stride), 40);
    else if (event.key === 'Home') this.show(0, 40);
    else if (event.key === 'End') this.show(last, 40);
    else if (event.key === 'Escape') this.leave();
    else return;
    event.preventDefault();
  }

  leave() {
    this.at = null;
    this.pressed = null;
    this.mark.hidden = true;
    this.tip.hidden = true;
    this.draw();
  }

  /** Shows the values at a step, those nearest to the pointer first. */
  show(index, y) {
    const last = this.lines[0].values.length - 1;
    this.at = Math.min(last, Math.max(0, index));
    this.draw();
    const lines = this.drawn().filter((line) => !isNaN(line.values[this.at]));
    const near = (line) => Math.abs(this.y(line.tops[this.at]) - y);
    lines.sort((a, b) => near(a) - near(b));
    const shown = lines.slice(0, 8);
    const t = this.start + this.at * this.step;
    this.tip.replaceChildren(make('div', { class: 'when' }, `${formatTime(t * SECOND)} UTC`),
      ...shown.map((line) => make('div', { class: 'row' }, this.dot(line.number),
        make('span', { class: 'name' }, this.names[line.number]), make('b', {}, shortNumber(line.values[this.at])))),
      lines.length > shown.length ? make('div', { class: 'when' }, `and ${lines.length - shown.length} more`) : '');
    this.tip.hidden = false;
    const x = this.x(t);
    const width = this.tip.offsetWidth;
    const room = this.element.clientWidth;
    const left = x + 14 + width < room ? x + 14 : x - 14 - width;
    this.tip.style.left = `${Math.max(0, Math.min(left, room - width))}px`;
    this.tip.style.top = `${Math.max(0, Math.min(y - 20, this.canvas.clientHeight - this.tip.offsetHeight))}px`;
  }

  dot(number) {
    const dot = make('i', { class: 'dot' });
    dot.style.background = this.colour(number);
    return dot;
  }

  drawLegend() {
    const most = 100;
    const items = this.lines.slice(0, most).map((line, number) => make('button', {
      type: 'button', 'aria-pressed': 'true',
      onclick: (event) => this.toggle(number, event.ctrlKey || event.metaKey),
      onmouseenter: () => this.emphasize(number), onmouseleave: () => this.emphasize(undefined),
    }, this.dot(number), seriesElement(line.labels)));
    if (this.lines.length > most) {
      items.push(make('p', { class: 'dim' }, `and ${this.lines.length - most} more, which are drawn but not listed`));
    }
    this.legend.replaceChildren(...items);
  }

  emphasize(number) {
    this.focus = number;
    this.draw();
  }

  /** Shows one line only, or all again; with `add` hides or shows this one. */
  toggle(number, add) {
    const others = this.lines.map((_, other) => other).filter((other) => other !== number);
    const alone = !this.hidden.has(number) && others.every((other) => this.hidden.has(other));
    if (add) {
      if (this.hidden.has(number)) this.hidden.delete(number);
      else this.hidden.add(number);
    } else {
      this.hidden = new Set(alone ? [] : others);
    }
    [...this.legend.querySelectorAll('button')].forEach((button, index) => {
      button.setAttribute('aria-pressed', String(!this.hidden.has(index)));
    });
    this.draw();
  }

  restyle() {
    this.drawLegend();
    this.draw();
  }
}

function stroke(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}
