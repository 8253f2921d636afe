//! From keys as they are written to a [`Config`] that can be used.

use serde_json::Value;

use super::{
    Config, ConfigError, Overrides, Place,
    document::{Document, Own, Prefix},
    old::{self, Found, OldSettings},
    own,
};
use crate::{cluster::repository::Repository, plan::Policy};

/// Days and lines of one policy before they are compared.
struct Retentions {
    index: u32,
    snapshot: u32,
    place: Place,
}

/// Checks everything.
pub(super) fn check(
    file: &str,
    document: &Document,
    lookup: &dyn Fn(&str) -> Option<String>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let mut settings = OldSettings {
        file,
        document,
        lookup,
        overridden: Vec::new(),
    };
    let own = &document.own;
    let repository_name = repository_name(&settings.require(&old::REPOSITORY)?)?;
    let endpoint = endpoint(&settings.require(&old::ENDPOINT)?)?;
    let policies = policies(&mut settings, own)?;
    let (repository, region) = repository(&mut settings, own, overrides)?;
    let max_deletes = match overrides.max_deletes {
        Some(given) => given,
        None => settings.number("max_deletes", &own.max_deletes, 10, 0, 1_000_000)?,
    };
    Ok(Config {
        endpoint,
        region,
        repository_name,
        repository,
        policies,
        max_deletes,
        patience: settings.patience(own)?,
        warn: settings.warn(own)?,
        schedule: settings.schedule(own)?,
        metrics: own.metrics.clone(),
        access: own.access.clone(),
        unused: unused(document),
        overridden: settings.overridden,
    })
}

/// What Amazon's names end with; the old stack knew no other clusters.
const AMAZON: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// `https://host`, with or without the slash. Of a bare name only one of Amazon's tells how it is spoken to, and the old
/// stack's files have such.
fn endpoint(found: &Found) -> Result<String, ConfigError> {
    let text = found.text.trim_end_matches('/');
    let is_bare = !text.contains("://");
    let full = match is_bare && AMAZON.iter().any(|end| text.ends_with(end)) {
        true => format!("https://{text}"),
        false => text.to_owned(),
    };
    let problem = match url::Url::parse(&full) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && full.contains("://") => {
            return Ok(full);
        }
        _ if is_bare => {
            "begins with neither https:// nor http://: put the one before it by which the cluster is reached, as in \
             https://search.example.com"
        }
        _ => "an address such as https://search.example.com is wanted",
    };
    Err(ConfigError {
        place: found.place.clone(),
        problem: format!("es_endpoint: {problem}"),
    })
}

fn repository_name(found: &Found) -> Result<String, ConfigError> {
    let name = &found.text;
    let problem = if name.starts_with("cs-") {
        "names that begin with cs- belong to Amazon's service"
    } else if name
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || ",\"*\\<|>/?#".contains(c))
        || name.starts_with('_')
    {
        "such a name cannot stand in a path"
    } else {
        return Ok(name.clone());
    };
    Err(ConfigError {
        place: found.place.clone(),
        problem: format!("es_repo_name: {problem}"),
    })
}

fn policies(settings: &mut OldSettings<'_>, own: &Own) -> Result<Vec<Policy>, ConfigError> {
    let prefix = settings.require(&old::PREFIX)?;
    let index = settings.require(&old::INDEX_RETENTION)?;
    let snapshot = settings.require(&old::SNAPSHOT_RETENTION)?;
    let first = Retentions {
        index: own::days("index_retention", &index)?,
        snapshot: own::days("snapshot_retention", &snapshot)?,
        place: snapshot.place,
    };
    let refined = own
        .prefixes
        .iter()
        .find(|entry| entry.prefix.value == prefix.text);
    let mut policies = vec![policy(settings, own, &prefix, refined, &first)?];
    for entry in &own.prefixes {
        if entry.prefix.value == prefix.text && refined.is_some_and(|refined| std::ptr::eq(refined, entry)) {
            continue;
        }
        let found = settings.found(&entry.prefix);
        if policies.iter().any(|policy| policy.names.prefix == found.text) {
            return Err(ConfigError {
                place: found.place,
                problem: format!("prefix: {:?} is given twice", found.text),
            });
        }
        policies.push(policy(settings, own, &found, Some(entry), &first)?);
    }
    Ok(policies)
}

fn policy(
    settings: &OldSettings<'_>,
    own: &Own,
    prefix: &Found,
    entry: Option<&Prefix>,
    first: &Retentions,
) -> Result<Policy, ConfigError> {
    let none = None;
    let names = settings.names(
        prefix,
        [entry.map_or(&none, |entry| &entry.pattern), &own.pattern],
        [entry.map_or(&none, |entry| &entry.time_zone), &own.time_zone],
    )?;
    let mut days = Retentions {
        index: first.index,
        snapshot: first.snapshot,
        place: first.place.clone(),
    };
    if let Some(entry) = entry {
        if let Some(text) = &entry.index_retention {
            let found = settings.found(text);
            days.index = own::days("index_retention", &found)?;
            days.place = found.place;
        }
        if let Some(text) = &entry.snapshot_retention {
            let found = settings.found(text);
            days.snapshot = own::days("snapshot_retention", &found)?;
            days.place = found.place;
        }
    }
    if days.snapshot < days.index.saturating_add(2) {
        return Err(ConfigError {
            place: days.place,
            problem: format!(
                "snapshot_retention {} is below index_retention {} + 2: the snapshot would expire before its index is deleted",
                days.snapshot, days.index
            ),
        });
    }
    let number =
        |name: &str, text: Option<&super::document::Text>, outer: &super::document::Text, default, from| {
            let text = text.filter(|text| text.is_some()).unwrap_or(outer);
            settings.number(name, text, default, from, 1024)
        };
    Ok(Policy {
        names,
        index_retention: days.index,
        snapshot_retention: days.snapshot,
        shards: number("shards", entry.map(|entry| &entry.shards), &own.shards, 5, 1)?,
        replicas: number(
            "replicas",
            entry.map(|entry| &entry.replicas),
            &own.replicas,
            1,
            0,
        )?,
        create_ahead: entry
            .and_then(|entry| entry.create_ahead)
            .or(own.create_ahead)
            .unwrap_or(true),
    })
}

/// The repository with the settings of the old stack, and whatever is set beside them; and the region.
fn repository(
    settings: &mut OldSettings<'_>,
    own: &Own,
    overrides: &Overrides,
) -> Result<(Repository, String), ConfigError> {
    let kind = own
        .repository
        .kind
        .as_ref()
        .map_or("s3", |kind| kind.value.as_str())
        .to_owned();
    let mut values = serde_json::Map::new();
    let region;
    if kind == "s3" {
        let bucket = settings.require(&old::BUCKET)?;
        region = settings.require(&old::REGION)?.text;
        values.insert("bucket".to_owned(), bucket.text.into());
        values.insert("region".to_owned(), region.clone().into());
        let role = overrides.role_arn.clone().filter(|role| !role.is_empty());
        if let Some(role) = role.or_else(|| (settings.lookup)("IAM_ROLE_ARN").filter(|role| !role.is_empty()))
        {
            values.insert("role_arn".to_owned(), role.into());
        }
    } else {
        region = settings
            .get(&old::REGION)?
            .map(|found| found.text)
            .unwrap_or_default();
    }
    for (name, value) in &own.repository.settings {
        // A setting without a value takes away what is sent otherwise.
        if value.is_null() {
            values.shift_remove(name);
            continue;
        }
        if matches!(value, Value::Array(_) | Value::Object(_)) {
            let place = own
                .repository
                .kind
                .as_ref()
                .map_or(0, |kind| kind.referenced.line());
            return Err(ConfigError {
                place: settings.at(place),
                problem: format!("repository.settings.{name}: a single value is wanted"),
            });
        }
        values.insert(name.clone(), value.clone());
    }
    let repository = Repository {
        kind,
        settings: values,
    };
    Ok((repository, region))
}

fn unused(document: &Document) -> Vec<String> {
    let old = &document.old;
    let mut unused = Vec::new();
    let mut note = |is_given: bool, name: &str| {
        if is_given {
            unused.push(name.to_owned());
        }
    };
    note(old.account.is_some(), "account");
    if let Some(vpc) = &old.vpc {
        note(vpc.use_existing.is_some(), "vpc.use_existing");
        note(vpc.vpc_id.is_some(), "vpc.vpc_id");
        note(vpc.security_group_id.is_some(), "vpc.security_group_id");
    }
    note(old.vpc_id.is_some(), "vpc_id");
    note(old.security_group_id.is_some(), "security_group_id");
    unused
}
