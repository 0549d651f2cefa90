"""The pipeline engine: stage graph, sources, executor, cache, committer. It knows neither Prefect nor the terminal."""
