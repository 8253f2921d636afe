//! Basic authentication: users with passwords of which only the bcrypt hash is known.
//!
//! Checking a password takes a tenth of a second of a core on purpose. Right ones are remembered for as long as their hash
//! stands in the file, wrong ones are not: they could push the right ones out. Requests that come with the same user and
//! password while these are checked wait for that one check.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};

/// Right passwords that are remembered.
const MAX_REMEMBERED: usize = 100;
/// Passwords that may wait to be checked.
const MAX_WAITING: usize = 64;

/// Users and the hashes of their passwords.
#[derive(Clone, Default)]
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// The hash that takes longest to compare.
    costliest: String,
}

/// Checks passwords, one at a time.
#[derive(Debug)]
pub(super) struct Passwords {
    /// Makes what is remembered useless elsewhere.
    secret: [u8; 32],
    right: Mutex<VecDeque<Print>>,
    /// What is being checked, and where it is told.
    under_way: Mutex<HashMap<Print, Told>>,
    turn: Arc<Semaphore>,
    places: Semaphore,
}

/// Of user, hash and password.
type Print = [u8; 32];

/// Whether a password is right, once that is known.
type Told = watch::Receiver<Option<bool>>;

/// A check that is under way, as long as this lives.
struct UnderWay<'a> {
    passwords: &'a Passwords,
    print: Print,
    teller: watch::Sender<Option<bool>>,
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    Refused,
    /// Too many passwords wait to be checked.
    TooMany,
}

impl Users {
    /// Checks the hashes.
    ///
    /// # Errors
    /// Names the user whose hash is none, and does not show it.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        let mut costliest = (0, String::new());
        for (user, hash) in &hashes {
            let cost = cost(hash).ok_or_else(|| {
                format!(
                    "basic_auth_users.{user}: a bcrypt hash is wanted, such as $2y$10$ and 53 characters; \
                     `htpasswd -nBC 10 {user}` makes one"
                )
            })?;
            if cost > costliest.0 {
                costliest = (cost, hash.clone());
            }
        }
        Ok(Self {
            hashes,
            costliest: costliest.1,
        })
    }

    /// Whether nobody is asked for a password.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

impl fmt::Debug for Users {
    /// Shows no hashes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.hashes.keys()).finish()
    }
}

/// The logarithm of the rounds; `None` for what no password can be compared with.
fn cost(hash: &str) -> Option<u32> {
    let cost = hash.parse::<bcrypt::HashParts>().ok()?.get_cost();
    let (salt, digest) = hash.get(7..)?.split_at_checked(22)?;
    let decode = |text: &str| bcrypt::BASE_64.decode(text).ok().map(|bytes| bytes.len());
    let decodes = decode(salt) == Some(16) && decode(digest) == Some(23);
    (decodes && (4..=31).contains(&cost)).then_some(cost)
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            secret: rand::random(),
            right: Mutex::default(),
            under_way: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            places: Semaphore::new(MAX_WAITING),
        }
    }
}

impl Passwords {
    /// Judges the header `Authorization` of a request.
    pub(super) async fn judge(&self, users: &Users, header: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = header.and_then(credentials) else {
            return Verdict::Refused;
        };
        let known = users.hashes.get(&user);
        // Whether somebody is a user must not be told by the time it takes.
        let hash = known.unwrap_or(&users.costliest).clone();
        let print = self.print(&user, &hash, &password);
        let is_right = loop {
            if known.is_some() && self.is_remembered(&print) {
                return Verdict::Welcome;
            }
            let mut told = match self.begin(print) {
                Ok(check) => {
                    let Ok(_place) = self.places.try_acquire() else {
                        return Verdict::TooMany;
                    };
                    break self.check(&check, known.is_some(), password, hash).await;
                }
                Err(told) => told,
            };
            // Who checks may leave, and then another one of those who wait does.
            if let Ok(told) = told.wait_for(Option::is_some).await {
                break *told;
            }
        };
        match is_right {
            Some(true) => Verdict::Welcome,
            Some(false) => Verdict::Refused,
            None => Verdict::TooMany,
        }
    }

    /// Begins a check, or says where the one that is under way will be told.
    fn begin(&self, print: Print) -> Result<UnderWay<'_>, Told> {
        let mut under_way = self.under_way.lock();
        if let Some(told) = under_way.get(&print) {
            return Err(told.clone());
        }
        let (teller, told) = watch::channel(None);
        under_way.insert(print, told);
        Ok(UnderWay {
            passwords: self,
            print,
            teller,
        })
    }

    /// Compares the password when its turn has come, and tells all who wait for it.
    async fn check(
        &self,
        check: &UnderWay<'_>,
        is_known: bool,
        password: Vec<u8>,
        hash: String,
    ) -> Option<bool> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        // The turn is kept until the end of the work, also when the client leaves before.
        let verified = crate::blocking(move || (bcrypt::verify(password, &hash), turn)).await;
        let is_right = is_known && matches!(verified, Ok((Ok(true), _)));
        if is_right {
            self.remember(check.print);
        }
        check.teller.send_replace(Some(is_right));
        Some(is_right)
    }

    fn print(&self, user: &str, hash: &str, password: &[u8]) -> Print {
        let mut digest = Sha256::new_with_prefix(self.secret);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// Looks at all of them and at each to its end, so that the time tells nothing.
    fn is_remembered(&self, print: &Print) -> bool {
        let right = self.right.lock();
        right
            .iter()
            .fold(false, |found, known| found | is_same(known, print))
    }

    fn remember(&self, print: Print) {
        let mut right = self.right.lock();
        if right.contains(&print) {
            return;
        }
        if right.len() >= MAX_REMEMBERED {
            right.pop_front();
        }
        right.push_back(print);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.passwords.under_way.lock().remove(&self.print);
    }
}

fn is_same(one: &Print, other: &Print) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0, |difference, (one, other)| difference | (one ^ other));
    difference == 0
}

/// User and password of `Basic …`.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let text = header.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some((user, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, with the fewest rounds that there are.
    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

    fn users() -> Users {
        let users = [("me".to_owned(), HASH.to_owned())];
        Users::new(users.into_iter().collect()).unwrap()
    }

    fn basic(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).unwrap()
    }

    #[tokio::test]
    async fn the_right_password_is_welcome_and_nothing_else() {
        let (users, passwords) = (users(), Passwords::default());
        let judge = async |text: &str| passwords.judge(&users, Some(&basic(text))).await;
        assert_eq!(judge("me:wrong").await, Verdict::Refused);
        assert_eq!(judge("you:secret").await, Verdict::Refused, "an unknown user");
        assert_eq!(judge(":secret").await, Verdict::Refused);
        assert_eq!(judge("me").await, Verdict::Refused);
        assert!(passwords.right.lock().is_empty(), "wrong ones are not remembered");
        for _ in 0..2 {
            assert_eq!(judge("me:secret").await, Verdict::Welcome);
        }
        assert_eq!(passwords.right.lock().len(), 1);
        assert_eq!(judge("me:secret:").await, Verdict::Refused);
        assert_eq!(passwords.judge(&users, None).await, Verdict::Refused);
        for header in ["Bearer abc", "Basic", "Basic !!", "Basic  "] {
            let header = HeaderValue::from_static(header);
            assert_eq!(passwords.judge(&users, Some(&header)).await, Verdict::Refused);
        }
    }

    #[tokio::test]
    async fn a_remembered_password_is_forgotten_with_its_hash() {
        let passwords = Passwords::default();
        assert_eq!(
            passwords.judge(&users(), Some(&basic("me:secret"))).await,
            Verdict::Welcome
        );
        let nobody = Users::default();
        assert_eq!(
            passwords.judge(&nobody, Some(&basic("me:secret"))).await,
            Verdict::Refused
        );
        let changed = HASH.replace("$2y$04$", "$2y$05$");
        let changed = Users::new([("me".to_owned(), changed)].into_iter().collect()).unwrap();
        assert_eq!(
            passwords.judge(&changed, Some(&basic("me:secret"))).await,
            Verdict::Refused
        );
    }

    #[tokio::test]
    async fn few_are_remembered_and_few_may_wait() {
        let passwords = Passwords::default();
        for number in 0..=255 {
            passwords.remember([number; 32]);
        }
        assert_eq!(passwords.right.lock().len(), MAX_REMEMBERED);
        assert!(passwords.is_remembered(&[255; 32]) && !passwords.is_remembered(&[0; 32]));
        let _all = passwords.places.try_acquire_many(64).unwrap();
        assert_eq!(
            passwords.judge(&users(), Some(&basic("me:secret"))).await,
            Verdict::TooMany
        );
    }

    #[tokio::test]
    async fn any_number_of_requests_with_one_password_wait_for_one_check() {
        for (text, verdict) in [
            ("me:secret", Verdict::Welcome),
            ("me:wrong", Verdict::Refused),
            ("you:secret", Verdict::Refused),
        ] {
            let (users, passwords, header) = (users(), Passwords::default(), basic(text));
            // Nobody is done before all have come.
            let turn = Arc::clone(&passwords.turn).acquire_owned().await.unwrap();
            let judged = futures::future::join_all((0..500).map(|_| passwords.judge(&users, Some(&header))));
            let released = async {
                while passwords.under_way.lock().is_empty() {
                    tokio::task::yield_now().await;
                }
                drop(turn);
            };
            let (verdicts, ()) = futures::join!(judged, released);
            assert!(
                verdicts.iter().all(|given| *given == verdict),
                "{text}: {verdicts:?}"
            );
            assert!(passwords.under_way.lock().is_empty());
            assert_eq!(passwords.places.available_permits(), MAX_WAITING);
        }
    }

    #[tokio::test]
    async fn who_waits_checks_when_the_one_who_checked_has_left() {
        let (users, passwords, header) = (users(), Passwords::default(), basic("me:secret"));
        let turn = Arc::clone(&passwords.turn).acquire_owned().await.unwrap();
        let mut first = Box::pin(passwords.judge(&users, Some(&header)));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(passwords.judge(&users, Some(&header)));
        assert!(futures::poll!(&mut second).is_pending());
        drop((first, turn));
        assert_eq!(second.await, Verdict::Welcome);
    }

    #[test]
    fn hashes_of_all_spellings_are_taken_and_what_is_none_is_not_shown() {
        for version in ["2a", "2b", "2y", "2x"] {
            assert_eq!(cost(&HASH.replace("2y", version)), Some(4));
        }
        for wrong in [
            "",
            "canary",
            &HASH[..59],
            &format!("{HASH}a"),
            &HASH.replace("$04$", "$99$"),
            &HASH.replace("2y", "1"),
        ] {
            let user = [("me".to_owned(), wrong.to_owned())];
            let error = Users::new(user.into_iter().collect()).unwrap_err();
            assert!(
                error.starts_with("basic_auth_users.me: ") && !error.contains("canary"),
                "{error}"
            );
        }
        let costly = HASH.replace("$04$", "$06$");
        let two = [
            ("a".to_owned(), HASH.to_owned()),
            ("b".to_owned(), costly.clone()),
        ];
        let users = Users::new(two.into_iter().collect()).unwrap();
        assert_eq!(users.costliest, costly);
        assert!(!format!("{users:?}").contains("$2y"));
    }
}
