//! Tests against a real cluster through the chart, and the benchmarks.
