"""dashboards.py FOLDER: writes the dashboards as Grafana's JSON. What is in dashboards/ was written by this file."""

import json
import pathlib
import sys

JOB = 'job=~"$job"'
RATE = "$__rate_interval"


def rate(metric, by, matchers=""):
    return f"sum by ({by}) (rate({metric}{{{JOB}{matchers}}}[{RATE}]))"


def quantile(metric, by="", matchers="", share=0.99):
    labels = ", ".join(filter(None, [by, "le"]))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{JOB}{matchers}}}[{RATE}])))"


def gauge(metric, by, fold="sum"):
    return f"{fold} by ({by}) ({metric}{{{JOB}}})"


# A panel is (title, unit, [(expression, legend)]).
GRPC = [
    ("gRPC calls", "reqps", [(rate("grpc_server_handled_total", "grpc_method, grpc_code"), "{{grpc_method}} {{grpc_code}}")]),
    ("gRPC call time, 99 %", "s", [(quantile("grpc_server_handling_seconds", "grpc_method"), "{{grpc_method}}")]),
]
BUCKET = [
    ("Bucket operations", "ops", [(rate("thanos_objstore_bucket_operations_total", "operation"), "{{operation}}")]),
    ("Bucket failures", "ops", [(rate("thanos_objstore_bucket_operation_failures_total", "operation"), "{{operation}}")]),
    (
        "Bucket operation time, 99 %", "s",
        [(quantile("thanos_objstore_bucket_operation_duration_seconds", "operation"), "{{operation}}")],
    ),
    ("Bytes read from the bucket", "Bps", [(rate("thanos_objstore_bucket_operation_fetched_bytes_total", "operation"), "{{operation}}")]),
]
PROCESS = [
    (
        "Memory budget", "bytes",
        [
            (gauge("sabre_memory_budget_used_bytes", "instance"), "{{instance}} used"),
            (gauge("sabre_memory_budget_high_water_bytes", "instance"), "{{instance}} most ever"),
            (gauge("sabre_memory_budget_limit_bytes", "instance"), "{{instance}} limit"),
        ],
    ),
    (
        "Waits and refusals of memory", "ops",
        [
            (rate("sabre_memory_budget_waits_total", "instance"), "{{instance}} waits"),
            (rate("sabre_memory_budget_refusals_total", "instance"), "{{instance}} refusals"),
        ],
    ),
    ("Resident memory", "bytes", [(gauge("process_resident_memory_bytes", "instance"), "{{instance}}")]),
    ("CPU", "none", [(rate("process_cpu_seconds_total", "instance"), "{{instance}}")]),
]
SIDECAR = [
    ("Prometheus is reached", "none", [(gauge("thanos_sidecar_prometheus_up", "instance"), "{{instance}}")]),
    ("Blocks still to be shipped", "none", [(gauge("sabre_sidecar_unshipped_blocks", "instance"), "{{instance}}")]),
    (
        "Blocks shipped and failed", "none",
        [
            (f"sum by (instance) (increase(thanos_shipper_uploads_total{{{JOB}}}[1h]))", "{{instance}} shipped in an hour"),
            (f"sum by (instance) (increase(thanos_shipper_upload_failures_total{{{JOB}}}[1h]))", "{{instance}} failed in an hour"),
        ],
    ),
    ("Blocks lost", "none", [(gauge("sabre_sidecar_lost_blocks_total", "instance, reason"), "{{instance}} {{reason}}")]),
    (
        "Remote reads", "none",
        [
            (gauge("sabre_sidecar_remote_reads_in_flight", "instance"), "{{instance}} run"),
            (gauge("sabre_sidecar_remote_reads_waiting", "instance"), "{{instance}} wait"),
        ],
    ),
    ("Requests to Prometheus", "reqps", [(rate("thanos_sidecar_http_client_request_total", "code"), "{{code}}")]),
]
STORE = [
    (
        "Blocks", "none",
        [
            (gauge("thanos_bucket_store_blocks_loaded", "instance"), "{{instance}} loaded"),
            (gauge("sabre_store_blocks_set_aside", "instance"), "{{instance}} left out"),
        ],
    ),
    ("Block changes", "ops", [
        (rate("thanos_bucket_store_block_loads_total", "instance"), "{{instance}} loads"),
        (rate("thanos_bucket_store_block_load_failures_total", "instance"), "{{instance}} failed loads"),
        (rate("thanos_bucket_store_block_drops_total", "instance"), "{{instance}} drops"),
    ]),
    (
        "Series calls", "none",
        [
            (gauge("thanos_bucket_store_series_gate_queries_in_flight", "instance"), "{{instance}} run"),
            (gauge("thanos_bucket_store_series_gate_queries_max", "instance"), "{{instance}} may run"),
        ],
    ),
    ("Wait for a turn, 99 %", "s", [(quantile("thanos_bucket_store_series_gate_duration_seconds"), "wait")]),
    ("Time of a Series call, 99 %", "s", [
        (quantile("thanos_bucket_store_series_get_all_duration_seconds"), "read"),
        (quantile("thanos_bucket_store_series_merge_duration_seconds"), "merge and send"),
    ]),
    ("Blocks in a call, 90 %", "none", [(quantile("thanos_bucket_store_series_blocks_queried", share=0.9), "blocks")]),
    ("Series in an answer, 90 %", "none", [(quantile("thanos_bucket_store_series_result_series", share=0.9), "series")]),
    ("Bytes fetched for a call, 90 %", "bytes", [
        (quantile("thanos_bucket_store_series_data_size_fetched_bytes", "data_type", share=0.9), "{{data_type}}"),
    ]),
    ("Bucket requests of a call, 90 %", "none", [
        (quantile("sabre_store_request_bucket_requests", "data_type", share=0.9), "{{data_type}}"),
    ]),
    ("Index cache hits", "percentunit", [(
        rate("thanos_store_index_cache_hits_total", "item_type") + " / " + rate("thanos_store_index_cache_requests_total", "item_type"),
        "{{item_type}}",
    )]),
    ("Index cache size", "bytes", [(gauge("thanos_store_index_cache_items_size_bytes", "item_type"), "{{item_type}}")]),
    ("Blocks seen", "none", [(gauge("thanos_blocks_meta_synced", "state", "max"), "{{state}}")]),
]
COMPACT = [
    ("Broken blocks", "none", [
        (gauge("thanos_compact_halted", "instance"), "there are some"),
        (gauge("sabre_compact_quarantined_blocks", "work"), "{{work}}"),
        (gauge("sabre_compact_overlapping_blocks", "instance"), "overlap"),
    ]),
    ("Left to do", "none", [
        (gauge("thanos_compact_todo_compactions", "instance"), "compactions"),
        (gauge("thanos_compact_todo_downsample_blocks", "instance"), "blocks to downsample"),
        (gauge("thanos_compact_todo_deletion_blocks", "instance"), "blocks past retention"),
    ]),
    ("Compactions", "none", [
        (f"sum by (resolution) (increase(thanos_compact_group_compactions_total{{{JOB}}}[1h]))", "resolution {{resolution}}, in an hour"),
        (f"sum by (resolution) (increase(thanos_compact_group_compactions_failures_total{{{JOB}}}[1h]))", "failed {{resolution}}, in an hour"),
    ]),
    ("Blocks downsampled", "none", [
        (f"sum by (resolution) (increase(thanos_compact_downsample_total{{{JOB}}}[1h]))", "resolution {{resolution}}, in an hour"),
        (f"sum by (resolution) (increase(thanos_compact_downsample_failures_total{{{JOB}}}[1h]))", "failed {{resolution}}, in an hour"),
    ]),
    ("Iterations", "none", [(f"sum by (instance) (increase(thanos_compact_iterations_total{{{JOB}}}[1h]))", "{{instance}}, in an hour")]),
    ("Blocks marked and deleted", "none", [
        (f"sum by (marker, reason) (increase(thanos_compact_blocks_marked_total{{{JOB}}}[1h]))", "{{marker}} {{reason}}"),
        (f"sum(increase(thanos_compact_blocks_cleaned_total{{{JOB}}}[1h]))", "deleted"),
        (f"sum(increase(thanos_compact_block_cleanup_failures_total{{{JOB}}}[1h]))", "could not be deleted"),
    ]),
    ("Samples written", "none", [(rate("sabre_compact_written_samples_total", "instance"), "{{instance}}")]),
    ("Bytes read by compactions", "Bps", [(rate("sabre_compact_read_bytes_total", "instance"), "{{instance}}")]),
    ("Blocks seen", "none", [(gauge("thanos_blocks_meta_synced", "state", "max"), "{{state}}")]),
]
QUERY = [
    ("Requests", "reqps", [(rate("http_requests_total", "handler, code"), "{{handler}} {{code}}")]),
    ("Errors", "percentunit", [(
        rate("http_requests_total", "handler", ',code=~"5.."') + " / " + rate("http_requests_total", "handler") + " or 0 * "
        + rate("http_requests_total", "handler"),
        "{{handler}}",
    )]),
    ("Request time, 99 %", "s", [(quantile("http_request_duration_seconds", "handler"), "{{handler}}")]),
    ("Request time, half", "s", [(quantile("http_request_duration_seconds", "handler", share=0.5), "{{handler}}")]),
    ("Queries", "none", [
        (gauge("thanos_query_concurrent_gate_queries_in_flight", "instance"), "{{instance}} run"),
        (gauge("thanos_query_concurrent_gate_queries_max", "instance"), "{{instance}} may run"),
    ]),
    ("Parts of a query, 99 %", "s", [(quantile("prometheus_engine_query_duration_seconds", "slice"), "{{slice}}")]),
    ("Samples read", "none", [(rate("prometheus_engine_query_samples_total", "instance"), "{{instance}}")]),
    ("Endpoints", "none", [(gauge("thanos_store_nodes_grpc_connections", "store_type, external_labels"), "{{store_type}} {{external_labels}}")]),
    ("Calls to endpoints", "reqps", [(rate("grpc_client_handled_total", "grpc_method, grpc_code"), "{{grpc_method}} {{grpc_code}}")]),
    ("Call time of endpoints, 99 %", "s", [(quantile("grpc_client_handling_seconds", "grpc_method"), "{{grpc_method}}")]),
    ("Looked-up names", "ops", [
        (rate("thanos_query_endpoints_dns_lookups_total", "instance"), "{{instance}} look-ups"),
        (rate("thanos_query_endpoints_dns_failures_total", "instance"), "{{instance}} failures"),
    ]),
]
BOARDS = {
    "sidecar": SIDECAR + GRPC + BUCKET + PROCESS,
    "store": STORE + GRPC + BUCKET + PROCESS,
    "compact": COMPACT + BUCKET + PROCESS,
    "query": QUERY + GRPC + PROCESS,
}


def panel(number, title, unit, queries):
    datasource = {"type": "prometheus", "uid": "$datasource"}
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": datasource,
        "gridPos": {"h": 8, "w": 8, "x": number % 3 * 8, "y": number // 3 * 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": datasource, "expr": expr, "legendFormat": legend}
            for at, (expr, legend) in enumerate(queries)
        ],
    }


def board(component, panels):
    return {
        "uid": f"sabre-{component}",
        "title": f"Sabre / {component.capitalize()}",
        "tags": ["sabre"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "",
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                {
                    "name": "job",
                    "type": "query",
                    "label": "Job",
                    "datasource": {"type": "prometheus", "uid": "$datasource"},
                    "query": f'label_values(up{{job=~".*thanos-{component}.*"}}, job)',
                    "includeAll": True,
                    "multi": True,
                    "refresh": 2,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": [panel(number, *each) for number, each in enumerate(panels)],
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    for component, panels in BOARDS.items():
        text = json.dumps(board(component, panels), indent=2)
        (folder / f"{component}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
