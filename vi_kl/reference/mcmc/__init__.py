"""Reference posteriors from checked runs of MCMC, with their evidence."""
