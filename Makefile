# The two commands that everybody starts with, and the few that developers add.
# Everything else is in deploy/local; each command makes what it needs first.

PYTHON ?= python3
export PORT SLURM PART
RUN = @exec $(PYTHON) -m deploy.local

.PHONY: demo test lint constraints clean clean-demo

demo:  ## Run everything on this machine and print a URL (PORT=8000, SLURM=1)
	$(RUN) demo

test:  ## Run all tests, or one part of them (PART=unit, vk, e2e, …)
	$(RUN) test

lint:  ## Check style, types and the import contracts
	$(RUN) lint

constraints:  ## Pin the newest versions that fit together in constraints.txt
	$(RUN) constraints

clean:  ## Remove the environments and builds that the commands above keep
	$(RUN) clean

clean-demo:  ## Forget the demo's users, notebooks and jobs
	$(RUN) clean-demo
