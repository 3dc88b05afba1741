"""Every configuration key that STPN adds to detectron2's, with its default."""

from detectron2.config import CfgNode as CN


def add_stpn_config(cfg):
    """Add STPN's keys to a detectron2 config node, in place.

    The defaults are the paper's Swin-T video object detector. `MODEL.STPN.ENABLED False` is the matched
    baseline: the same network, data and schedule without support frames and prompts.
    """
    _add_model(cfg)
    _add_cvt(cfg)
    _add_mask2former(cfg)
    _add_mixformer(cfg)
    _add_input(cfg)
    _add_data(cfg)
    _add_solver(cfg)
    # Which ImageNet VID convention the slow / medium / fast AP50 follow: "mega" or "fgfa".
    cfg.TEST.MOTION_CONVENTION = "mega"
    # Video instance segmentation.
    cfg.TEST.MAX_TRACKS = 10  # results of a video, pairs of a track and a class
    # Frames over which a stream's scores look back (their weights fall to 1/e over it), 0: all. Whole videos are scored
    # by all of their frames.
    cfg.TEST.SCORE_HORIZON = 15
    cfg.TEST.WINDOW_SIZE = 1  # frames that pass the network together; the results are the same


def class_count(cfg):
    """-> (key, value) of the number of classes that the model of cfg tells apart."""
    node = "SEM_SEG_HEAD" if cfg.MODEL.META_ARCHITECTURE == "VideoInstanceSegmenter" else "ROI_HEADS"
    return f"MODEL.{node}.NUM_CLASSES", cfg.MODEL[node].NUM_CLASSES


def _add_model(cfg):
    cfg.MODEL.STPN = CN()
    cfg.MODEL.STPN.ENABLED = True
    cfg.MODEL.STPN.NUM_PROMPTS = 7  # N_P, Table 5(c); the released configs have 5
    cfg.MODEL.STPN.DEEP = False  # one set of prompts per block (equation 11) instead of one at the input
    cfg.MODEL.STPN.SUPPORT_GRAD = False  # let gradients reach the encoder through the support pass
    cfg.MODEL.STPN.PREDICTOR = CN()
    cfg.MODEL.STPN.PREDICTOR.NAME = "TransformerPredictor"  # or a name in PROMPT_PREDICTOR_REGISTRY
    cfg.MODEL.STPN.PREDICTOR.NUM_HEADS = 16
    cfg.MODEL.STPN.PREDICTOR.HIDDEN_DIM = 0  # of the last FFN; 0 means the predictor's default
    # Normalise support tokens over the batch before the projection. Off is the paper's equations; small
    # networks whose embeddings hardly differ between videos need it (see README, toy set).
    cfg.MODEL.STPN.PREDICTOR.TOKEN_NORM = False

    cfg.MODEL.SELSA = CN()
    cfg.MODEL.SELSA.NUM_HEADS = 16  # of the aggregation after each fully connected layer

    cfg.MODEL.SWIN = CN()
    cfg.MODEL.SWIN.EMBED_DIM = 96
    cfg.MODEL.SWIN.DEPTHS = [2, 2, 6, 2]
    cfg.MODEL.SWIN.NUM_HEADS = [3, 6, 12, 24]
    cfg.MODEL.SWIN.WINDOW_SIZE = 7
    cfg.MODEL.SWIN.MLP_RATIO = 4.0
    cfg.MODEL.SWIN.DROP_PATH_RATE = 0.2
    cfg.MODEL.SWIN.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # How a prompt passes a patch merging: "vpt" (as a 2x2 patch of equal pixels) or "released" (the
    # channel order of the authors' checkpoints).
    cfg.MODEL.SWIN.PROMPT_MERGE = "vpt"


def _add_cvt(cfg):
    cfg.MODEL.CVT = CN()  # CvT-21
    cfg.MODEL.CVT.WIDTHS = [64, 192, 384]
    cfg.MODEL.CVT.DEPTHS = [1, 4, 16]
    cfg.MODEL.CVT.NUM_HEADS = [1, 3, 6]
    cfg.MODEL.CVT.MLP_RATIO = 4.0
    cfg.MODEL.CVT.DROP_PATH_RATES = [0.0, 0.0, 0.1]
    cfg.MODEL.CVT.OUT_FEATURES = ["res2", "res3", "res4"]
    # How a prompt passes a convolutional projection: "bypass" (as CvT's class token) or "constant" (as an image of
    # equal pixels).
    cfg.MODEL.CVT.PROMPT_PROJECTION = "bypass"


def _add_mask2former(cfg):
    """Mask2Former's own keys, as far as they act here; detectron2 has MODEL.SEM_SEG_HEAD already."""
    cfg.MODEL.SEM_SEG_HEAD.MASK_DIM = 256
    cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 6
    cfg.MODEL.MASK_FORMER = CN()
    cfg.MODEL.MASK_FORMER.CLASS_WEIGHT = 2.0
    cfg.MODEL.MASK_FORMER.MASK_WEIGHT = 5.0
    cfg.MODEL.MASK_FORMER.DICE_WEIGHT = 5.0
    cfg.MODEL.MASK_FORMER.NO_OBJECT_WEIGHT = 0.1
    cfg.MODEL.MASK_FORMER.DEC_LAYERS = 10  # 9 layers and the supervised queries before the first
    cfg.MODEL.MASK_FORMER.HIDDEN_DIM = 256
    cfg.MODEL.MASK_FORMER.NHEADS = 8
    cfg.MODEL.MASK_FORMER.DIM_FEEDFORWARD = 2048  # of the decoder; the pixel decoder's is 1024
    cfg.MODEL.MASK_FORMER.DROPOUT = 0.0  # of the pixel decoder
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 100
    cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 12544
    cfg.MODEL.MASK_FORMER.OVERSAMPLE_RATIO = 3.0
    cfg.MODEL.MASK_FORMER.IMPORTANCE_SAMPLE_RATIO = 0.75


def _add_mixformer(cfg):
    """Single-object tracking with MixFormer's heads; defaults are the paper's CvT-21 trained on GOT-10k."""
    cfg.MODEL.MIXFORMER = CN()
    cfg.MODEL.MIXFORMER.HEAD_DIM = 384  # width of the corner head
    cfg.MODEL.MIXFORMER.HEAD_FREEZE_BN = False  # its batch normalisations keep their statistics (second stage)
    cfg.MODEL.MIXFORMER.SCORE_HEAD = False  # is the target in the box? Without it templates are never updated
    # What is trained: "box" (first stage: all but the score head) or "score" (second stage: the score head alone).
    cfg.MODEL.MIXFORMER.STAGE = "box"
    cfg.MODEL.MIXFORMER.CIOU_WEIGHT = 2.0
    cfg.MODEL.MIXFORMER.L1_WEIGHT = 5.0
    cfg.MODEL.MIXFORMER.SCORE_WEIGHT = 1.0
    cfg.INPUT.TRACKING = CN()
    cfg.INPUT.TRACKING.TEMPLATE_SIZE = 128  # side of a template, pixels of the network
    cfg.INPUT.TRACKING.TEMPLATE_FACTOR = 2.0  # side of its square in the frame, relative to sqrt(w * h) of the box
    cfg.INPUT.TRACKING.SEARCH_SIZE = 320  # side of a search region, a multiple of 16
    cfg.INPUT.TRACKING.SEARCH_FACTOR = 5.0  # in training; testing has TEST.TRACKING.SEARCH_FACTOR
    # How training frames are drawn: "causal" (both templates before the search frame), "trident" or "trident_pro"
    # (anywhere; the second template near the search frame).
    cfg.INPUT.TRACKING.SAMPLING = "causal"
    cfg.INPUT.TRACKING.MAX_GAP = 200  # frames between a template and the search frame
    cfg.INPUT.TRACKING.CENTER_JITTER = 4.5  # of the search region, relative to sqrt(w * h)
    cfg.INPUT.TRACKING.SCALE_JITTER = 0.5  # size times exp(N(0, 1) * this)
    cfg.INPUT.TRACKING.GRAY = 0.05  # probability that all crops of a sample are grey
    cfg.INPUT.TRACKING.FLIP = 0.5  # that all are mirrored; and again, of each template and of the search region apart
    cfg.INPUT.TRACKING.BRIGHTNESS = 0.2  # factor within 1 -+ this, of each template and of the search region apart
    cfg.INPUT.TRACKING.POSITIVE_SHARE = 0.5  # second stage: samples that show the target
    cfg.INPUT.TRACKING.MIN_LENGTH = 20  # sequences with fewer frames are left out of training
    # Names of sequences, one a line, that must not be trained on (a file): VOT's list for GOT-10k; "" for none.
    cfg.INPUT.TRACKING.EXCLUDE = ""
    cfg.TEST.TRACKING = CN()
    cfg.TEST.TRACKING.SEARCH_FACTOR = 4.55
    cfg.TEST.TRACKING.UPDATE_INTERVAL = 10  # frames between updates of the templates
    cfg.TEST.TRACKING.ONLINE_TEMPLATES = 2  # templates beside the first
    cfg.TEST.TRACKING.UPDATE_SCORE = 0.5  # what a frame needs to become a template
    cfg.TEST.TRACKING.SCORE_DECAY = 0.98  # of the best score since the last update, each frame
    cfg.TEST.TRACKING.LOST_SCORE = 0.5  # below this the target counts as lost in results; tracking goes on


def _add_input(cfg):
    cfg.INPUT.MAPPER = "VideoDatasetMapper"
    cfg.INPUT.SUPPORT = CN()
    cfg.INPUT.SUPPORT.FRAMES_PER_SIDE = 7  # K of Table 5(b), counted per side
    cfg.INPUT.SUPPORT.STRIDE = 8  # S of Table 5(a), frames
    cfg.INPUT.SUPPORT.TRAIN_FRAMES = 2
    cfg.INPUT.SUPPORT.TRAIN_RANGE = 9  # training supports lie within +- this many frames
    cfg.INPUT.SUPPORT.TEST_POLICY = "grid"  # grid, sliding, spread, causal or own
    cfg.INPUT.SUPPORT.SPREAD_FRAMES = 0  # frames of policy spread; 0 means 2 * FRAMES_PER_SIDE
    cfg.INPUT.SUPPORT.RESIZE = 1.0  # size of the support frames relative to the key frame
    # Trackers (VideoObjectTracker) have supports of the past alone: in training t - STRIDE * j, j up to TRAIN_FRAMES;
    # in testing FRAMES_PER_SIDE frames. TRAIN_RANGE and SPREAD_FRAMES are not theirs, the next three theirs alone.
    cfg.INPUT.SUPPORT.KEEP_FIRST = True  # in testing also frame 0, the only one with a true box
    cfg.INPUT.SUPPORT.ANCHOR = "grid"  # in testing: multiples of STRIDE, or "sliding": t - STRIDE * j
    # What supports are: "memory" (the search regions of those frames, encoded again without prompts),
    # "prompted_memory" (in testing their features as tracking made them; training is that of "memory") or "templates"
    # (the tracker's templates; then no frame is a support, and the keys that choose frames do not act).
    cfg.INPUT.SUPPORT.SOURCE = "memory"
    # The frames whose proposals SELSA aggregates (SelsaDetector); the test policy is SUPPORT's.
    cfg.INPUT.SELSA = CN()
    cfg.INPUT.SELSA.FRAMES_PER_SIDE = 7
    cfg.INPUT.SELSA.STRIDE = 8
    cfg.INPUT.SELSA.TRAIN_FRAMES = 0  # 0: none are loaded; SELSA's configurations say 2
    cfg.INPUT.SELSA.TRAIN_RANGE = 1000  # in effect the whole video
    cfg.INPUT.SELSA.SPREAD_FRAMES = 0
    # The second branch of the training augmentation (DETR's): resize, crop, then resize as usual.
    cfg.INPUT.CLIP_CROP = CN()
    cfg.INPUT.CLIP_CROP.ENABLED = True
    cfg.INPUT.CLIP_CROP.PROBABILITY = 0.5
    cfg.INPUT.CLIP_CROP.MIN_SIZES = [400, 500, 600]  # short side before the crop, pixels
    cfg.INPUT.CLIP_CROP.SIZE_RANGE = [384, 600]  # sides of the crop, pixels


def _add_data(cfg):
    cfg.DATALOADER.ALLOW_MISSING = False  # train without the labelled frames whose files are not there
    cfg.DATALOADER.KEEP_UNLABELLED_VIDEOS = False  # train on videos without a single object, too


def _add_solver(cfg):
    cfg.SOLVER.OPTIMIZER = "ADAMW"  # or "SGD"
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0  # learning rate of backbone.* relative to BASE_LR
    cfg.SOLVER.PREDICTOR_MULTIPLIER = 1.0  # learning rate of prompt_predictor.* relative to BASE_LR
    cfg.SOLVER.WEIGHT_DECAY = 0.05
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0  # of position tables and nn.Embedding
