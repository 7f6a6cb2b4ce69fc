"""The described network: scenarios, nodes, links, hardware profiles. Data and pure functions."""
