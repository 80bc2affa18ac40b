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
        dataset=datasets_of_format("scenes"),
    conda:
        "../../envs/stages.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        options=lambda w: dataset_options(w, "format"),
    shell:
        "python stages/render_scenes.py {params.options} --output {output.index}"
        " --threads {threads} > {log} 2>&1"


rule index_dataset:
    """The index of photographs on disk, with their ground truth if they have one."""
    input:
        unpack(source_files),
        code=code("index_dataset"),
    output:
        index="results/{dataset}/index.json",
    log:
        "results/logs/{dataset}/index_dataset.log",
    benchmark:
        "results/benchmarks/{dataset}/index_dataset.tsv"
    wildcard_constraints:
        dataset=datasets_of_format(
            "voc", "coco", "folder", "flickr30k", "visual_genome", "referit"
        ),
    conda:
        "../../envs/stages.yaml"
    threads: THREADS
    resources:
        mem_mb=index_memory,
        runtime=growing(60),
    params:
        files=file_options(*SOURCE_KINDS),
        options=dataset_options,
    shell:
        "python stages/index_dataset.py {params.files} {params.options} --output {output.index}"
        " --threads {threads} > {log} 2>&1"
