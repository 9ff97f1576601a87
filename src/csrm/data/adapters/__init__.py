"""Adapters: one small function for each source schema, by the name that `config/datasets.tsv` uses."""

from csrm.data.adapters import cosa, cosa_responses, dynabench, exaggerated, guards, own, pairs, project, pyrit
from csrm.data.adapters.common import Adapter

ADAPTERS: dict[str, Adapter] = {
    "aegis2": guards.aegis2,
    "beavertails": guards.beavertails,
    "beavertails-votes": guards.beavertails_votes,
    "coconot": pairs.coconot,
    "cosalign-labelled": cosa_responses.labelled_responses,
    "cosalign-test": cosa.cosalign_test,
    "cosalign-test-simplified": cosa.cosalign_test_simplified,
    "cosalign-train": cosa.cosalign_train,
    "cosapien": cosa.cosapien,
    "cosapien-judged": cosa.cosapien_judged,
    "cosapien-prompts": cosa.cosapien_prompts,
    "cst-pairs": pairs.system_prompts,
    "dynabench": dynabench.dynabench,
    "dynabench-relevant": dynabench.dynabench_relevant,
    "or-bench": exaggerated.or_bench,
    "own-labels": own.own_labels,
    "project-pairs": project.pairs,
    "prompt2response": cosa_responses.prompt2response,
    "pyrit-harm": pyrit.harm,
    "pyrit-objective": pyrit.objective,
    "pyrit-refusal": pyrit.refusal,
    "rows": project.rows,
    "safe-rlhf": pairs.safe_rlhf,
    "safe-rlhf-ranked": pairs.safe_rlhf_ranked,
    "topics-prompts": project.topics_prompts,
    "wildguard-prompts": guards.wildguard_prompts,
    "wildguardmix": guards.wildguardmix,
    "xstest": exaggerated.xstest,
    "xstest-completions": exaggerated.completions,
    "xstest-response": exaggerated.responses,
}
