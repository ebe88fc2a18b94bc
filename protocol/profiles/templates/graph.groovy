// Makes the graph known to clients as `g`; written by `configure`, so change the template instead.
def globals = [:]
globals << [g : graph.traversal()]
