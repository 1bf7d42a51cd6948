"""The parts of ``export``: graphs, preprocessing, file formats and checks."""
