# What depends on what. The rules stay thin: companion does the work and can be called without Snakemake.
#
# Executed chapters and finished books are named by digests of the contents they rest on (companion/plan.py), so a rule
# runs exactly when such a name is not there yet. `make book` checks all parameters, then calls this.

import sys
from pathlib import Path

from companion import plan, site
from companion.__main__ import words

PROFILE = config.get("profile", "quick")
CHAPTER = config.get("chapter")  # only this one, in a book of its own
SET = str(config.get("set", ""))  # its parameters, as in "trials=50 seed=3"

ROOT = Path(workflow.basedir)
JOBS = {job.chapter: job for job in plan.plan(PROFILE, [CHAPTER] if CHAPTER else [], words(SET), ROOT)}
WAITING = [job for job in JOBS.values() if not (ROOT / job.executed).is_file()]
BOOK = site.locate(PROFILE, alone=CHAPTER is not None).parent.relative_to(ROOT)
CALL = f"{sys.executable} -m companion {{}} --profile {PROFILE} --set '{SET}'"


rule book:
    input:
        f"{BOOK}/book-{site.digest(list(JOBS.values()), ROOT)}",


rule chapters:
    input:
        [job.executed for job in JOBS.values()],


rule execute:
    output:
        "_build/runs/{chapter}-{digest}.ipynb",
    # one core a chapter while several wait, all of them for one that is alone
    threads: max(1, workflow.cores // max(1, len(WAITING)))
    shell:
        CALL.format("execute") + " --chapter {wildcards.chapter} --threads {threads}"


rule pages:
    input:
        rules.chapters.input,
    output:
        f"{BOOK}/book-{{digest}}",
    threads: workflow.cores
    params:
        chapter=f"--chapter {CHAPTER}" if CHAPTER else "",
        old=f"{BOOK}/book-*",
    shell:
        CALL.format("pages") + " {params.chapter} && rm -f {params.old} && touch {output}"
