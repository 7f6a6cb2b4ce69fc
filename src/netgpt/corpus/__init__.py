"""Facts, tasks and graders: what the models are trained on and judged by."""
