rule train_cad:
    """CAD, trained on the boxes that a heuristic proposes on f or on f^h."""
    input:
        unpack(of_dataset),
        boxes="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
        init=cad_init_file,
        code=code("train_cad"),
    output:
        cad="results/{dataset}/{backbone}/cad.{method}.{seed}/cad.safetensors",
    log:
        "results/logs/{dataset}/{backbone}/cad.{method}.{seed}/train_cad.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/cad.{method}.{seed}/train_cad.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(16000),
        runtime=growing(2880),
        gpu=GPUS * config["cad"]["devices"],
        device=config["device"],
    params:
        files=file_options("init"),
        options=cad_options,
        precision=config["precision"],
    shell:
        "python stages/train_cad.py --index {input.index} --boxes {input.boxes}"
        " {params.files} {params.options} --seed {wildcards.seed} --output {output.cad}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"


rule predict_cad:
    """All boxes of CAD on the dataset that it was trained on."""
    input:
        unpack(of_dataset),
        cad="results/{dataset}/{backbone}/cad.{method}.{seed}/cad.safetensors",
        code=code("predict_cad"),
    output:
        boxes="results/{dataset}/{backbone}/cad.{method}.{seed}/boxes.json",
        meta="results/{dataset}/{backbone}/cad.{method}.{seed}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/cad.{method}.{seed}/predict_cad.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/cad.{method}.{seed}/predict_cad.tsv"
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=GPUS,
        device=config["device"],
    params:
        options=options(config["cad_prediction"]),
        precision=config["precision"],
    shell:
        "python stages/predict_cad.py --cad {input.cad} --index {input.index} {params.options}"
        " --output {output.boxes}"
        " --precision {params.precision} --device {resources.device} --threads {threads}"
        " > {log} 2>&1"
