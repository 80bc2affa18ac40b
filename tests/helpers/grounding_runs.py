"""The stages of grounding and of "what is where by looking" on small data, for `stage_runs`."""

from __future__ import annotations

# As `stage_runs.STAGES`.
GROUNDING = {
    "render_phrases": ("index.json", "--preset entities_test --count 12 --size 64 --seed 3"),
    "train_clip": (
        "clip.safetensors",
        "--index {render_phrases} --trunk none --image-size 32 --patch-size 8 --embed-dim 16"
        " --width 16 --layers 1 --heads 2 --context-length 16 --batch-size 6 --steps 30 --warmup 1"
        " --checkpoint-seconds 0",
    ),
    "train_grounder": (
        "g.safetensors",
        "--index {render_phrases} --clip {train_clip} --trunk efficientnet_lite0 --frozen-trunk"
        " --width 8 --image-size 64 --batch-size 4 --steps 8 --lr 0.02 --checkpoint-seconds 0",
    ),
    "extract_heatmaps": (
        "maps.h5",
        "--index {render_phrases} --clip {train_clip} --weights {train_grounder} --image-size 64"
        " --size 32 --batch-size 1",
    ),
    "heatmap_boxes": (
        "boxes.json",
        "--heatmaps {extract_heatmaps} --index {render_phrases} --mode pseudo",
    ),
    "detect_phrases": (
        "boxes.json",
        "--index {render_phrases} --network owlv2 --weights {owlv2}",
    ),
    "train_phrase_detector": (
        "h.safetensors",
        "--index {render_phrases} --inputs {extract_heatmaps} --boxes {heatmap_boxes}"
        " --network attention --layout spatial --width 8 --num-boxes 3 --cell 4 --batch-size 4"
        " --augmentation flip_maps --steps 10 --checkpoint-seconds 0",
    ),
    "refine_grounder": (
        "g.safetensors",
        "--index {render_phrases} --clip {train_clip} --weights {train_grounder}"
        " --detector {train_phrase_detector} --boxes {heatmap_boxes} --image-size 64"
        " --heatmap-size 32 --batch-size 4 --steps 6 --lr 1e-3 --checkpoint-seconds 0",
    ),
    "list_groundings": (
        "groundings.json",
        "--index {render_phrases} --heatmaps {extract_heatmaps} --boxes {heatmap_boxes}",
    ),
    "draw_groundings": (
        "figure.png",
        "--index {render_phrases} --boxes {heatmap_boxes} --names g --count 2",
    ),
    "excite_classifier": (
        "maps.h5",
        "--index {render_phrases} --image-size 32 --size 16 --batch-size 4",
    ),
    "merge_heatmaps": ("maps.h5", "--shards {extract_heatmaps}"),
    "train_captioner": (
        "captioner.safetensors",
        "--index {render_phrases} --object-crops 1 --window-crops 1 --image-size 32 --width 16"
        " --layers 1 --heads 2 --context-length 24 --batch-size 8 --steps 20 --warmup 1"
        " --checkpoint-seconds 0",
    ),
    "describe_regions": (
        "index.json",
        "--index {render_phrases} --captioner {train_captioner} --clip {train_clip}"
        " --image-size 48 --same-iou 0.6 --max-length 8 --batch-size 16",
    ),
    "merge_descriptions": ("index.json", "--shards {describe_regions}"),
    "match_captions": (
        "matches.json",
        "--index {render_phrases} --descriptions {merge_descriptions} --clip {train_clip}",
    ),
    "extract_caption_maps": (
        "maps.h5",
        "--index {merge_descriptions} --clip {train_clip} --weights {train_grounder}"
        " --image-size 64 --size 32 --batch-size 1",
    ),
    "locate_captions": (
        "boxes.json",
        "--heatmaps {extract_caption_maps} --index {merge_descriptions} --mode evaluation",
    ),
    "score_captions": (
        "metrics.json",
        "--task wwbl --index {render_phrases} --matches {match_captions} --boxes {locate_captions}",
    ),
    "list_descriptions": (
        "descriptions.json",
        "--index {merge_descriptions} --boxes {locate_captions}",
    ),
    "draw_descriptions": (
        "page.html",
        "--descriptions {merge_descriptions} --heatmaps {extract_caption_maps}"
        " --boxes {locate_captions}",
    ),
}
# Those that run another stage's script.
SCRIPTS = {
    "render_phrases": "render_scenes",
    "train_phrase_detector": "train_detector",
    "extract_caption_maps": "extract_heatmaps",
    "locate_captions": "heatmap_boxes",
    "score_captions": "evaluate",
    "extract_from_states": "extract_features",
    "list_groundings": "export_results",
    "list_descriptions": "export_results",
    "merge_boxes": "merge_shards",
    "merge_heatmaps": "merge_shards",
    "merge_descriptions": "merge_shards",
}
