#!/bin/bash
# Studies on a Slurm cluster: a task of an array for each row, with all of its seeds. From the checkout's folder:
#
#   configs/studies/slurm.sh configs/studies/table5_stride.yaml output/studies --gres=gpu:1 --time=12:00:00
#
# The output folder must be on a disk that all machines share; what follows it goes to sbatch as it is. Rows that
# evaluate another row's weights wait until all training has ended, and say so where those are not there. The same
# command goes on where an earlier one stopped. GPUS=4 trains each row on four GPUs. To have a task for each seed, give
# --seed S with --row, as often as there are seeds.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: slurm.sh STUDY.yaml OUTPUT [options of sbatch]" >&2
    exit 2
fi
study=$1 output=$2
shift 2
run=$(printf '%q ' python projects/STPN/study.py "$study" --output "$output")

table=$(eval "$run --list")
rows() { { grep -E "  $1 +[0-9]+ of [0-9]+ done" || true; } <<< "$table" | awk '{print $1}' | paste -sd, -; }
submit() { sbatch --parsable "$@"; }

prepared=$(submit "$@" --job-name=prepare --wrap "$run --prepare")
last=$(submit "$@" --job-name=train --dependency="afterok:$prepared" --array="$(rows trains)" \
    --wrap "$run --row \$SLURM_ARRAY_TASK_ID")
others=$(rows "weights of .*")
if [ -n "$others" ]; then
    last=$(submit "$@" --job-name=evaluate --dependency="afterany:$last" --array="$others" \
        --wrap "$run --row \$SLURM_ARRAY_TASK_ID")
fi
submit "$@" --job-name=report --dependency="afterany:$last" --wrap "$run --report"
