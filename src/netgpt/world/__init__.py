"""Composition root: assembles nodes, controller and users into a simulated or an emulated network."""
