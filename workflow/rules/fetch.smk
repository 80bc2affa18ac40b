"""The paper's data and weights, into data/: which may be a link to a larger disk.

The stages' code is no input here: an edit must not fetch gigabytes again.
"""

for SOURCE in sources.read(sources.DATASETS):

    rule:
        name:
            f"fetch_{SOURCE}"
        output:
            receipt=f"{DATA}/receipts/{SOURCE}.json",
        log:
            f"results/logs/fetch/{SOURCE}.log",
        benchmark:
            f"results/benchmarks/fetch/{SOURCE}.tsv"
        conda:
            "../../envs/stages.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(2880),
            network=1,
        params:
            sources=DATASET_SOURCES,
            name=SOURCE,
            folder=lambda w, output: os.path.dirname(os.path.dirname(output.receipt)),
        shell:
            "python stages/fetch_dataset.py --sources {params.sources} --name {params.name}"
            " --folder {params.folder} --output {output.receipt} --threads {threads}"
            " > {log} 2>&1"


rule fetch_one_weights:
    """A file of ours of pretrained weights that are published elsewhere."""
    input:
        file=local_weights,
        needs=weights_needed,
    output:
        weights=f"{DATA}/weights/{{file}}",
    log:
        "results/logs/fetch/{file}.log",
    benchmark:
        "results/benchmarks/fetch/{file}.tsv"
    wildcard_constraints:
        file=artifacts.one_of(file for name, file in WEIGHTS.items() if file != name),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        network=1,
    params:
        registry=WEIGHT_REGISTRY,
        name=lambda w: weights_name(w.file),
        downloads=DOWNLOADS,
        files=file_options("file", "needs"),
    shell:
        "python stages/fetch_weights.py --registry {params.registry} --name {params.name}"
        " --downloads {params.downloads} {params.files} --output {output.weights}"
        " --threads {threads} > {log} 2>&1"


rule fetch_weights_folder:
    """Pretrained weights that a library reads from a folder."""
    output:
        folder=directory(f"{DATA}/weights/{{folder}}"),
    log:
        "results/logs/fetch/{folder}.log",
    benchmark:
        "results/benchmarks/fetch/{folder}.tsv"
    wildcard_constraints:
        folder=artifacts.one_of(file for name, file in WEIGHTS.items() if file == name),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
        network=1,
    params:
        registry=WEIGHT_REGISTRY,
        downloads=DOWNLOADS,
    shell:
        "python stages/fetch_weights.py --registry {params.registry} --name {wildcards.folder}"
        " --downloads {params.downloads} --output {output.folder} --threads {threads}"
        " > {log} 2>&1"


rule fetch_weights:
    """All pretrained weights that the configuration names."""
    input:
        weights_of_configuration(),


rule fetch_data:
    """All data that the configuration's datasets name."""
    input:
        data_of_configuration(),


rule check_data:
    """What is there of each dataset, beside what the paper counts."""
    log:
        "results/logs/check_data.log",
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        datasets=datasets_to_check(),
    shell:
        "python stages/check_data.py --datasets {params.datasets} --threads {threads}"
        " 2> {log} || (cat {log} >&2; exit 1)"
