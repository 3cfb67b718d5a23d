"""What tests share: processes, certificates, fakes, limits, networks."""
