"""Writes a deterministic file of metrics: gen_metrics.py ROWS OUT.parquet

Seven days, 5 accounts x 20 services x 5 metrics, 400 pods: 84,000 hourly groups.
Needs: pip install duckdb
"""

import argparse

import duckdb

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rows", type=int)
parser.add_argument("out")
arguments = parser.parse_args()

db = duckdb.connect()
db.execute(f"""
    copy (
        select
            'acct-' || (hash(i * 3) % 5)::varchar as account_id,
            'svc-' || (hash(i * 5) % 20)::varchar as service_name,
            [
                'container_http_requests_duration_seconds_total',
                'node_resources_cpu_usage_seconds_total',
                'node_resources_memory_free_bytes',
                'queue_depth',
                'gc_pause_ms'
            ][1 + (hash(i * 7) % 5)::int] as metric_name,
            'pod-' || (hash(i * 11) % 400)::varchar as pod,
            case hash(i * 13) % 20 when 0 then '500' when 1 then '404' else '200' end as status,
            make_timestamp(1760000000000000 + (i * 604800000000 / {arguments.rows})::bigint) as ts,
            (hash(i * 17) % 1000000) / 1000.0 as value,
            (hash(i * 19) % 2000)::bigint as bytes
        from range({arguments.rows}) t(i)
    ) to '{arguments.out}' (format parquet, compression zstd, row_group_size 131072)
""")
count, first, last = db.execute(f"select count(*), min(ts), max(ts) from '{arguments.out}'").fetchone()
print(f"{arguments.out}: {count} rows from {first} to {last}")
