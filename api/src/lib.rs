//! Custom resources, the job document, control HTTP and names: what components agree on; types, nothing runs.
