/// In which order training images are used.
public enum ShuffleMode: String, Codable, CaseIterable, Sendable {
  /// Trax's: one fixed permutation over and over, through a shuffle queue of 1,024 slots.
  case queue
  /// A new permutation every epoch.
  case epoch
  /// The order of the files.
  case none
}
