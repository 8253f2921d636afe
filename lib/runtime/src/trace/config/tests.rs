use super::*;

fn otlp(config: &str) -> Result<OtlpConfig, String> {
    match TraceConfig::parse(&format!("type: otlp\nconfig: {{client_type: grpc, {config}}}")) {
        Ok(TraceConfig::Otlp(config)) => Ok(*config),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn otlp_is_read_whole() {
    let config = otlp(
        "endpoint: 'c:4317', insecure: true, timeout: 3s, headers: {authorization: k4n4ri3}, service_name: s, \
         retry_config: {retry_enabled: true, retry_max_interval: 1m}, resource_attributes: {a: b}",
    )
    .unwrap();
    assert_eq!((config.endpoint.as_str(), config.insecure), ("c:4317", true));
    assert_eq!(config.timeout, Some(Duration::from_secs(3)));
    assert_eq!(
        config.retry_config.retry_max_interval,
        Some(Duration::from_secs(60))
    );
    assert_eq!(config.headers.0["authorization"], "k4n4ri3");
    assert!(!format!("{config:?}").contains("k4n4ri3"));
}

#[test]
fn samplers_are_read_by_type_and_share() {
    for (text, is_parent_based, share) in [
        ("", true, 1.0),
        ("sampler_type: alwayssample", false, 1.0),
        ("sampler_type: neversample", false, 0.0),
        (
            "sampler_type: traceidratiobased, sampler_param: '0.25'",
            false,
            0.25,
        ),
        ("sampler_type: parentbasedalwayssample", true, 1.0),
        ("sampler_type: parentbasedneversample", true, 0.0),
        (
            "sampler_type: parentbasedtraceidratiobased, sampler_param: 0.5",
            true,
            0.5,
        ),
    ] {
        assert_eq!(
            otlp(text).unwrap().sampler().unwrap(),
            Sampler {
                is_parent_based,
                share
            }
        );
    }
    for text in [
        "sampler_type: often",
        "sampler_type: parentbased",
        "sampler_type: traceidratiobased, sampler_param: 2",
    ] {
        assert!(
            otlp(text).unwrap_err().contains("--tracing.config: sampler_"),
            "{text}"
        );
    }
}

#[test]
fn other_types_are_known() {
    for (text, name) in [
        (
            "type: JAEGER\nconfig: {service_name: s, sampler_parent_config: {}}",
            "JAEGER",
        ),
        ("type: STACKDRIVER\nconfig: {project_id: p}", "GOOGLE_CLOUD"),
        ("type: GOOGLE_CLOUD", "GOOGLE_CLOUD"),
        ("type: ELASTIC_APM\nconfig:", "ELASTIC_APM"),
        ("type: LIGHTSTEP\nconfig: {access_token: k4n4ri3}", "LIGHTSTEP"),
    ] {
        assert_eq!(TraceConfig::parse(text).unwrap(), TraceConfig::NotBuilt(name));
    }
}

#[test]
fn what_makes_no_sense_is_refused_without_its_value() {
    for text in [
        "type: k4n4ri3",
        "type: OTLP\nconfig: {client_type: k4n4ri3}",
        "type: OTLP",
        "type: OTLP\nconfig: {client_type: grpc, timeout: k4n4ri3}",
        "type: OTLP\nconfig: {client_type: grpc, insecure: k4n4ri3}",
        "type: OTLP\nconfig: {client_type: grpc}\nmore: k4n4ri3",
    ] {
        let error = TraceConfig::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("k4n4ri3"), "{error}");
    }
    assert!(otlp("endpont: x").unwrap_err().contains("unknown key `endpont`"));
}
