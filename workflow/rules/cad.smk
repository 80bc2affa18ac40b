rule train_cad:
    """CAD, trained on the boxes that a heuristic proposes on f or on f^h."""
    input:
        unpack(of_dataset),
        boxes="results/{dataset}/{backbone}/{method}/boxes.json",
        meta="results/{dataset}/{backbone}/{method}/boxes.meta.json",
        init=detectors.cad_init_file(config),
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
        **on_device(
            mem_mb=16000, runtime=2880, gpu=GPUS * config["cad"]["training"]["devices"]
        ),
    params:
        files=file_options("init"),
        options=lambda w: detectors.cad_options(config, w.dataset),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/train_cad.py" --index {input.index} --boxes {input.boxes} {params.files}'
            " {params.options} --seed {wildcards.seed} --output {output.cad}"
        )


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
        **on_device(mem_mb=8000, runtime=240),
    params:
        options=lambda w: detectors.cad_prediction_options(config, w.dataset),
        precision=config["precision"],
    shell:
        with_precision(
            'python "$BBR_STAGES/predict_cad.py" --cad {input.cad} --index {input.index} {params.options}'
            " --output {output.boxes}"
        )


use rule predict_cad as predict_cad_held_out with:
    # On a dataset that CAD has not seen.
    input:
        unpack(of_dataset),
        cad="results/{trained_on}/{backbone}/cad.{method}.{seed}/cad.safetensors",
        code=code("predict_cad"),
    output:
        boxes="results/{dataset}/{backbone}/cad.{trained_on}.{method}.{seed}/boxes.json",
        meta="results/{dataset}/{backbone}/cad.{trained_on}.{method}.{seed}/boxes.meta.json",
    log:
        "results/logs/{dataset}/{backbone}/cad.{trained_on}.{method}.{seed}/predict_cad.log",
    benchmark:
        "results/benchmarks/{dataset}/{backbone}/cad.{trained_on}.{method}.{seed}/predict_cad.tsv"
