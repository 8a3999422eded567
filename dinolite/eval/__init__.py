"""What a frozen backbone has learnt: `features` are read from it, then judged by `knn`, `linear`
and `segmentation`; `online` is k-NN while a run goes on."""
