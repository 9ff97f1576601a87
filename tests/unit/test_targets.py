"""Targets that no rule makes: the message names the value, the known ones and the setting that adds it."""

import pytest

from csrm.targets import check_targets

PATTERNS = [
    "results/models/csrm/{variant,csrm}/manifest.json",
    r"results/models/csrm/{variant,csrm\-no\-cca|csrm\+seed\-1}/manifest.json",
    r"results/metrics/{model,csrm|zero\-shot|tfidf\-lr}/{benchmark,pyrit-seen|pyrit-unseen}.json",
    r"results/scores/{lm,csrm|zero\-shot}/{benchmark,pyrit-seen|pyrit-unseen}.jsonl",
    r"results/scores/{baseline,tfidf-lr}/{benchmark,pyrit-seen|pyrit-unseen}.jsonl",
    "results/scores/{guard,(?!)}/{benchmark,pyrit-seen|pyrit-unseen}.jsonl",
    "results/align/{config_id,no-pets}/{generated,before/test|after/[\\w-]+}.jsonl",
    "results/tables/table1.md",
    "results/tables/{table,results}.md",
]
SEEN = "known: pyrit-seen, pyrit-unseen; it comes with score.benchmarks"


@pytest.mark.parametrize(
    "word",
    [
        "results/metrics/csrm/pyrit-seen.json",
        "./results//metrics/csrm/pyrit-seen.json",
        "results/models/csrm/csrm+seed-1/manifest.json",
        "results/scores/tfidf-lr/pyrit-seen.jsonl",
        "results/align/no-pets/after/x.jsonl",
        "results/align/no-pets/never/x.jsonl",
        "results/tables/table1.md",
        "results/report.html",
        "score={benchmarks: [x]}",
        "-n",
        "all",
    ],
)
def test_what_a_rule_makes_or_has_another_form_passes(word: str) -> None:
    check_targets([word], PATTERNS)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "metrics/nosuch/pyrit-seen.json",
            "model 'nosuch' is not in this run; known: csrm, zero-shot, tfidf-lr; it comes",
        ),
        ("metrics/csrm/pyrit-sen.json", f"benchmark 'pyrit-sen' is not in this run, perhaps 'pyrit-seen'; {SEEN}"),
        ("models/csrm/x/manifest.json", r"variant 'x' (.*); known: csrm, csrm-no-cca, csrm\+seed-1; .* train.variants"),
        ("scores/csrm/nosuch.jsonl", f"scores/csrm/nosuch.jsonl: benchmark 'nosuch' is not in this run; {SEEN}"),
        ("scores/wildguard/pyrit-seen.jsonl", "'wildguard' (.*); known: csrm, zero-shot, tfidf-lr; (.*) score.models"),
        ("align/x/before/test.jsonl", "configuration 'x' (.*); it comes with align.configs"),
        ("tables/seeds.md", "table 'seeds' is not in this run; known: results; it comes with train.seeds$"),
        ("tables/nosuch.md", "table 'nosuch' is not in this run; known: results$"),
    ],
)
def test_the_unknown_value_is_named_with_its_setting(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_targets(["-n", "results/metrics/csrm/pyrit-seen.json", f"results/{word}"], PATTERNS)


def test_every_unknown_value_has_one_line() -> None:
    with pytest.raises(ValueError) as error:
        check_targets(["results/scores/a/b.jsonl", "results/tables/c.md"], PATTERNS)
    lines = str(error.value).splitlines()[1:]
    assert [line.split()[1:3] for line in lines] == [["model", "'a'"], ["benchmark", "'b'"], ["table", "'c'"]]
