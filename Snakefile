# What depends on what. The rules stay thin: companion does the work and can be called without Snakemake.
#
# Executed chapters and finished books are named by digests of the contents they rest on (companion/plan.py), so a rule
# runs exactly when such a name is not there yet. `make book` checks all parameters, writes what was asked for into a
# file, and calls this; companion/build.py says which of Snakemake's own records are switched off, and why.

import sys
from pathlib import Path

from companion import request, site

ROOT = Path(workflow.basedir)
FILE = config.get("request")
REQUEST = request.load(ROOT / FILE) if FILE else request.Request()
FILE = FILE or REQUEST.save(ROOT).as_posix()

JOBS = {job.chapter: job for job in REQUEST.jobs(ROOT)}
WAITING = [job for job in JOBS.values() if not (ROOT / job.executed).is_file()]


rule book:
    input:
        f"{REQUEST.folder}/book-{site.digest(list(JOBS.values()), ROOT)}",


rule chapters:
    input:
        [job.executed for job in JOBS.values()],


rule execute:
    output:
        "_build/{folder,runs|verify}/{chapter}-{digest}.ipynb",
    # one core a chapter while several wait, all of them for one that is alone
    threads: max(1, workflow.cores // max(1, len(WAITING)))
    params:
        python=sys.executable,
        request=FILE,
    shell:
        "{params.python:q} -m companion execute --request {params.request:q} --chapter {wildcards.chapter:q} --threads {threads}"


rule pages:
    input:
        rules.chapters.input,
    output:
        f"{REQUEST.folder}/book-{{digest}}",
    threads: workflow.cores
    params:
        python=sys.executable,
        request=FILE,
        old=f"{REQUEST.folder}/book-*",
    shell:
        "{params.python:q} -m companion pages --request {params.request:q} && rm -f {params.old} && touch {output:q}"
