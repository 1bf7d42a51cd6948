"""Models as graphs from images to outputs, the files that are made of them, and proofs that both agree."""
