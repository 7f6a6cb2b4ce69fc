"""NR's physical layer on Sionna (the extra `radio`): spectral-efficiency traces. No other room imports Sionna."""
