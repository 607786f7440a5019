#!/bin/bash
# Container notebook; its environment may hold secrets.
cd -- '/scratch/alice'"'"'s' || exit 1
export TOKEN='it'"'"'s "here" $(id) `id` \ $HOME *
	two ü 🐍 ; exit 9 #'
printf '%s\n' 'interlink: environment variable '"'"'my.var'"'"' cannot be set; skipped' >&2
printf '%s\n' 'interlink: environment variable '"'"'SECONDS'"'"' cannot be set; skipped' >&2
export EMPTY=''
export PATH=/opt/lab/bin:"$PATH"
exec -- jupyterhub-singleuser --ip=127.0.0.1 'it'"'"'s "here" $(id) `id` \ $HOME *
	two ü 🐍 ; exit 9 #'
