#!/bin/sh
# Both engines in turn on one file, three times: compare.sh METRICS.parquet VIEWS [BATCH_ROWS] [DIR]
#
# PYTHON names a Python with chdb. Prints one line of JSON per run.
set -eu
input=$1 views=$2 batch=${3:-65536} dir=${4:-bench-out}
here=$(dirname "$0")
cargo build --quiet --release -p parquedb-examples --bin rollup_bench --manifest-path "$here/../Cargo.toml"
for round in 1 2 3; do
    rm -rf "$dir/parquedb"
    cargo run --quiet --release -p parquedb-examples --bin rollup_bench --manifest-path "$here/../Cargo.toml" -- \
        --input "$input" --views "$views" --batch "$batch" --to "$dir/parquedb" --queries
    "${PYTHON:-python3}" "$here/clickhouse.py" "$input" "$views" "$batch" "$dir/clickhouse"
done
rm -rf "$dir/parquedb" "$dir/clickhouse"
