/// Who moves messages on while the ranks compute; Open MPI 4 does it only inside its own functions.
public enum MessageProgress: String, Sendable, Codable, CaseIterable {
  /// The computing thread, between two pieces of work. Takes no core.
  case poll
  /// A thread of its own, for hosts with a core to spare: it sleeps between looks.
  case thread
}
