rule render_scenes:
    """A dataset of rendered scenes and its ground truth."""
    input:
        code=code("render_scenes"),
    output:
        index="results/{dataset}/index.json",
        images=directory("results/{dataset}/images"),
    log:
        "results/logs/{dataset}/render_scenes.log",
    benchmark:
        "results/benchmarks/{dataset}/render_scenes.tsv"
    wildcard_constraints:
        dataset=datasets.of_format(config, "scenes"),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=1000, runtime=60),
    params:
        options=lambda w: datasets.scene_options(config, w.dataset),
    shell:
        logged(
            'python "$BBR_STAGES/render_scenes.py" {params.options} --output {output.index}'
        )


rule index_dataset:
    """The index of photographs on disk, with their ground truth if they have one."""
    input:
        unpack(lambda w: datasets.source_files(config, w.dataset)),
        code=code("index_dataset"),
    output:
        index="results/{dataset}/index.json",
    log:
        "results/logs/{dataset}/index_dataset.log",
    benchmark:
        "results/benchmarks/{dataset}/index_dataset.tsv"
    wildcard_constraints:
        dataset=datasets.of_format(
            config, "voc", "coco", "folder", "flickr30k", "visual_genome", "referit"
        ),
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=lambda w, attempt: capped(
            attempt * datasets.index_memory(config, w.dataset)
        ),
        runtime=lambda w, attempt: 60 * attempt,
        memory_limit=jobs.memory_limit(config),
    params:
        files=lambda w, input: datasets.own_files(config, w.dataset),
        options=lambda w: datasets.index_options(config, w.dataset),
    shell:
        logged(
            'python "$BBR_STAGES/index_dataset.py" {params.files} {params.options} --output {output.index}'
        )


rule pool_indexes:
    """The index of several datasets taken together."""
    input:
        indexes=lambda w: datasets.indexes_of_pool(config, w.dataset),
        code=code("pool_indexes"),
    output:
        index="results/{dataset}/index.json",
    log:
        "results/logs/{dataset}/pool_indexes.log",
    benchmark:
        "results/benchmarks/{dataset}/pool_indexes.tsv"
    wildcard_constraints:
        dataset=datasets.of_format(config, "pool"),
    conda:
        "../../envs/stages.yaml"
    resources:
        **growing(mem_mb=4000, runtime=10),
    shell:
        logged(
            'python "$BBR_STAGES/pool_indexes.py" --indexes {input.indexes} --output {output.index}'
        )
