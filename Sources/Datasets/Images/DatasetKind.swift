/// The datasets by name.
public enum DatasetKind: String, Codable, CaseIterable, Sendable {
  /// Ten classes.
  case cifar10
  /// A hundred fine classes.
  case cifar100

  /// The number of classes.
  public var classCount: Int { self == .cifar10 ? 10 : 100 }
}
