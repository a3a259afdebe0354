"""Measures ClickHouse on a file of metrics: clickhouse.py METRICS.parquet VIEWS [BLOCK_ROWS] [FOLDER]

Inserts the file, with VIEWS (0 to 3) materialized views, in blocks of BLOCK_ROWS, and prints one line
of JSON: ingest rows/s, median times of one query over the raw rows and over the hourly view in
milliseconds, and bytes on disk. FOLDER holds the database and is emptied first.
Needs: pip install chdb
"""

import argparse
import json
import shutil
import statistics
import time

from chdb import session

RAW = """
    create table m.metrics (
        account_id LowCardinality(String),
        service_name LowCardinality(String),
        metric_name LowCardinality(String),
        pod LowCardinality(String),
        status LowCardinality(String),
        ts DateTime64(6),
        value Float64,
        bytes Int64
    )
    engine = MergeTree partition by toYYYYMM(ts) order by (account_id, service_name, metric_name, ts)
"""

VIEWS = [
    """
    create materialized view m.hourly
    engine = AggregatingMergeTree order by (account_id, service_name, metric_name, hour) as
    select
        account_id, service_name, metric_name, toStartOfHour(ts) hour,
        countState() c, sumState(value) s, avgState(value) a, minState(value) mn, maxState(value) mx,
        quantilesDDState(0.01, 0.5, 0.95, 0.99)(value) p, sumState(bytes) b
    from m.metrics
    group by account_id, service_name, metric_name, hour
    """,
    """
    create materialized view m.performance
    engine = AggregatingMergeTree order by (account_id, service_name, minute) as
    select
        account_id, service_name, toStartOfMinute(ts) minute,
        uniqHLL12State(pod) pods, countState() c, avgState(value) a,
        quantilesDDState(0.01, 0.95)(value) p95, sumState(status >= '400') errors
    from m.metrics
    where metric_name = 'container_http_requests_duration_seconds_total'
    group by account_id, service_name, minute
    """,
    """
    create materialized view m.errors engine = MergeTree order by (account_id, ts) as
    select account_id, service_name, pod, status, ts, value from m.metrics where status >= '400'
    """,
]

RAW_QUERY = """
    select account_id, service_name, metric_name, toStartOfHour(ts) h,
        count(), avg(value), min(value), max(value), quantilesDD(0.01, 0.5, 0.95, 0.99)(value)
    from m.metrics where account_id = 'acct-3'
    group by account_id, service_name, metric_name, h
"""

VIEW_QUERY = """
    select account_id, service_name, metric_name, hour,
        countMerge(c), avgMerge(a), minMerge(mn), maxMerge(mx), quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(p)
    from m.hourly where account_id = 'acct-3'
    group by account_id, service_name, metric_name, hour
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics")
    parser.add_argument("views", type=int, choices=range(len(VIEWS) + 1))
    parser.add_argument("block", type=int, nargs="?", default=65536)
    parser.add_argument("folder", nargs="?", default="clickhouse-bench")
    arguments = parser.parse_args()

    shutil.rmtree(arguments.folder, ignore_errors=True)
    db = session.Session(arguments.folder)

    def query(sql):
        return str(db.query(sql, "CSV")).strip()

    def median_ms(sql, runs=5):
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            query(sql)
            times.append((time.perf_counter() - start) * 1e3)
        return round(statistics.median(times), 2)

    query("create database m")
    for definition in [RAW, *VIEWS[: arguments.views]]:
        query(definition)

    start = time.perf_counter()
    query(f"""
        insert into m.metrics select * from file('{arguments.metrics}', Parquet)
        settings max_insert_threads = 2, max_block_size = {arguments.block},
            max_insert_block_size = {arguments.block}, min_insert_block_size_rows = {arguments.block}
    """)
    seconds = time.perf_counter() - start
    rows = int(query("select count() from m.metrics"))

    result = {
        "engine": "clickhouse",
        "version": query("select version()").strip('"'),
        "views": arguments.views,
        "block": arguments.block,
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows / seconds),
    }
    if arguments.views:
        result["raw_ms"] = median_ms(RAW_QUERY)
        result["view_ms"] = median_ms(VIEW_QUERY)
    result["bytes"] = int(
        query("select sum(bytes_on_disk) from system.parts where active and database = 'm'")
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
