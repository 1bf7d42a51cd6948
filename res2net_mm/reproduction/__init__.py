"""The paper's experiments: its tables, training and testing their rows, measured numbers beside published ones."""
