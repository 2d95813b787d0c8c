//! The poller against a pod that answers, lags, lies and is away.
