#!/bin/bash

#SBATCH --job-name=noisyjax
#SBATCH --output=noisyjax.stdout
#SBATCH --error=noisyjax.stderr
#SBATCH --nodes=1
#SBATCH --time=150
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --constraint=a100
#SBATCH --partition=gpu
#SBATCH --gres=gpu:4
#SBATCH --mem=64g
#SBATCH --cpus-per-task=16

export PATH=VENV/bin:"$PATH"
export PYTHONPATH=CHECKOUT"${PYTHONPATH:+:$PYTHONPATH}"
module load cuda

export PARSL_MEMORY_GB=64
export PARSL_CORES=16


export JOBNAME="noisyjax"

process_worker_pool.py
