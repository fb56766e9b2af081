//! How long a bound layer takes: by the GPU's own clock where that is sane, else by the caller's.
