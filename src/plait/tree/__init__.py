"""What runs: services, the groups they form, and the supervisors that keep them alive."""
