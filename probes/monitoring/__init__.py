"""Parts of `probes.monitor`: what is measured at a step, the folder it is written to, and the words about it."""
