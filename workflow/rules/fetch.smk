"""The paper's data and weights, into data/: which may be a link to a larger disk.

The stages' code is no input here: an edit must not fetch gigabytes again.
"""

for SOURCE in sources.read(sources.DATASETS):

    rule:
        name:
            f"fetch_{SOURCE}"
        output:
            receipt=f"{datasets.DATA}/receipts/{SOURCE}.json",
        log:
            f"results/logs/fetch/{SOURCE}.log",
        benchmark:
            f"results/benchmarks/fetch/{SOURCE}.tsv"
        conda:
            "../../envs/stages.yaml"
        resources:
            **growing(mem_mb=2000, runtime=2880),
            network=1,
        params:
            sources=given_files.given_file("workflow/sources/datasets.yaml"),
            name=SOURCE,
            folder=lambda w, output: os.path.dirname(os.path.dirname(output.receipt)),
        shell:
            logged(
                'python "$BBR_STAGES/fetch_dataset.py" --sources {params.sources} --name {params.name}'
                " --folder {params.folder} --output {output.receipt}"
            )


rule fetch_one_weights:
    """A file of ours of pretrained weights that are published elsewhere."""
    input:
        file=lambda w: fetching.local_file(config, w.file),
        needs=lambda w: fetching.needed_file(w.file),
    output:
        weights=f"{datasets.DATA}/weights/{{file}}",
    log:
        "results/logs/fetch/{file}.log",
    benchmark:
        "results/benchmarks/fetch/{file}.tsv"
    wildcard_constraints:
        file=fetching.single_files(),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=6000, runtime=240),
        network=1,
    params:
        registry=given_files.given_file("workflow/sources/weights.yaml"),
        name=lambda w: fetching.entry(w.file),
        downloads=f"{datasets.DATA}/downloads",
        files=file_options("file", "needs"),
    shell:
        logged(
            'python "$BBR_STAGES/fetch_weights.py" --registry {params.registry} --name {params.name}'
            " --downloads {params.downloads} {params.files} --output {output.weights}"
        )


rule fetch_weights_folder:
    """Pretrained weights that a library reads from a folder."""
    output:
        folder=directory(f"{datasets.DATA}/weights/{{folder}}"),
    log:
        "results/logs/fetch/{folder}.log",
    benchmark:
        "results/benchmarks/fetch/{folder}.tsv"
    wildcard_constraints:
        folder=fetching.folders(),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=2000, runtime=240),
        network=1,
    params:
        registry=given_files.given_file("workflow/sources/weights.yaml"),
        downloads=f"{datasets.DATA}/downloads",
    shell:
        logged(
            'python "$BBR_STAGES/fetch_weights.py" --registry {params.registry} --name {wildcards.folder}'
            " --downloads {params.downloads} --output {output.folder}"
        )


rule fetch_weights:
    """All pretrained weights that the configuration names."""
    input:
        fetching.all_weights(config),


rule fetch_data:
    """All data that the configuration's datasets name."""
    input:
        datasets.all_receipts(config),


rule check_data:
    """What is there of each dataset, beside what the paper counts."""
    log:
        "results/logs/check_data.log",
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=16000, runtime=120),
    params:
        datasets=shlex.quote(json.dumps(datasets.expected_counts(config))),
    shell:
        'python "$BBR_STAGES/check_data.py" --datasets {params.datasets} --threads {threads}'
        " 2> {log} || (cat {log} >&2; exit 1)"
