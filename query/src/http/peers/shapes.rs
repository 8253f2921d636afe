//! What the answers of peers take in memory, message by message.

use sabre_proto::thanos::{
    ActiveTarget, Alert, AlertInstance, DroppedTarget, Exemplar, ExemplarsResponse, HeadStatistics, Label,
    LabelSet, Meta, MetricMetadataEntry, MetricMetadataResponse, RecordingRule, Rule, RulesResponse,
    Statistic, TargetsResponse, TsdbStatisticsEntry, TsdbStatisticsResponse,
};

use crate::fanout::Shape;

/// What a map takes for an entry beside key and value.
const MAP_ENTRY_BYTES: usize = 64;

/// A label.
pub(crate) const LABEL: Shape = Shape {
    bytes: size_of::<Label>(),
    nested: &[],
};

/// Labels.
pub(crate) const LABEL_SET: Shape = Shape {
    bytes: size_of::<LabelSet>(),
    nested: &[(1, &LABEL)],
};

/// The parts of this size are in the message already.
const fn part(nested: &'static [(u64, &'static Shape)]) -> Shape {
    Shape { bytes: 0, nested }
}

/// Rules.
pub(super) const RULES: Shape = Shape {
    bytes: size_of::<RulesResponse>(),
    nested: &[(1, &part(&[(3, &RULE)]))],
};

const RULE: Shape = Shape {
    bytes: size_of::<Rule>(),
    nested: &[(1, &RECORDING), (2, &ALERT)],
};

const RECORDING: Shape = Shape {
    bytes: size_of::<RecordingRule>(),
    nested: &[(3, &LABEL_SET)],
};

const ALERT: Shape = Shape {
    bytes: size_of::<Alert>(),
    nested: &[
        (5, &LABEL_SET),
        (6, &LABEL_SET),
        (
            7,
            &Shape {
                bytes: size_of::<AlertInstance>(),
                nested: &[(1, &LABEL_SET), (2, &LABEL_SET)],
            },
        ),
    ],
};

/// Targets.
pub(super) const TARGETS: Shape = Shape {
    bytes: size_of::<TargetsResponse>(),
    nested: &[(
        1,
        &part(&[
            (
                1,
                &Shape {
                    bytes: size_of::<ActiveTarget>(),
                    nested: &[(1, &LABEL_SET), (2, &LABEL_SET)],
                },
            ),
            (
                2,
                &Shape {
                    bytes: size_of::<DroppedTarget>(),
                    nested: &[(1, &LABEL_SET)],
                },
            ),
        ]),
    )],
};

/// Metadata of metrics.
pub(super) const METADATA: Shape = Shape {
    bytes: size_of::<MetricMetadataResponse>(),
    nested: &[(1, &part(&[(1, &METADATA_ENTRY)]))],
};

const METADATA_ENTRY: Shape = Shape {
    bytes: size_of::<(String, MetricMetadataEntry)>() + MAP_ENTRY_BYTES,
    nested: &[(
        2,
        &part(&[(
            2,
            &Shape {
                bytes: size_of::<Meta>(),
                nested: &[],
            },
        )]),
    )],
};

/// Exemplars.
pub(super) const EXEMPLARS: Shape = Shape {
    bytes: size_of::<ExemplarsResponse>(),
    nested: &[(
        1,
        &part(&[
            (1, &LABEL_SET),
            (
                2,
                &Shape {
                    bytes: size_of::<Exemplar>(),
                    nested: &[(1, &LABEL_SET)],
                },
            ),
        ]),
    )],
};

/// Statistics of databases.
pub(super) const STATISTICS: Shape = Shape {
    bytes: size_of::<TsdbStatisticsResponse>(),
    nested: &[(1, &part(&[(1, &STATISTICS_ENTRY)]))],
};

const STATISTICS_ENTRY: Shape = Shape {
    bytes: size_of::<(String, TsdbStatisticsEntry)>() + size_of::<HeadStatistics>() + MAP_ENTRY_BYTES,
    nested: &[(
        2,
        &part(&[(2, &STATISTIC), (3, &STATISTIC), (4, &STATISTIC), (5, &STATISTIC)]),
    )],
};

const STATISTIC: Shape = Shape {
    bytes: size_of::<Statistic>(),
    nested: &[],
};
