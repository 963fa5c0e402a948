import Tensors

/// Fault injection: a fault that a test requests of the program as it is shipped.
///
/// `WRN_FAULT=bitflip:rank=2,step=17,tensor=head.bias` flips one bit of one number of one rank after a step. It is refused
/// unless `WRN_ALLOW_FAULTS=1` is set as well.
public struct FaultInjection: Sendable, Hashable {
  private var rank = 0
  private var step = 0
  private var tensor = ""
  private var element = 0
  private var bit = 0

  /// Reads the fault from the environment; `nil` if there is none.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Throws: ``Refused`` if faults are not allowed or the text is not understood.
  public init?(environment: [String: String]) throws(Refused) {
    guard let text = environment["WRN_FAULT"], !text.isEmpty else { return nil }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw Refused("WRN_FAULT=\(text) would damage the run; unset it, or set WRN_ALLOW_FAULTS=1 if that is intended.")
    }
    let format = "bitflip:rank=2,step=17,tensor=head.bias[,element=0][,bit=0]"
    let unknown = Refused("WRN_FAULT=\(text) is not understood; its format is \(format).")
    guard text.hasPrefix("bitflip:") else { throw unknown }
    for setting in text.dropFirst(8).split(separator: ",", omittingEmptySubsequences: false) {
      let pair = setting.split(separator: "=", maxSplits: 1).map(String.init)
      guard pair.count == 2 else { throw unknown }
      switch (pair[0], Int(pair[1])) {
      case ("tensor", _): tensor = pair[1]
      case ("rank", let value?) where value >= 0: rank = value
      case ("step", let value?) where value >= 1: step = value
      case ("element", let value?) where value >= 0: element = value
      case ("bit", let value?) where (0..<32).contains(value): bit = value
      default: throw unknown
      }
    }
    guard step >= 1, !tensor.isEmpty else { throw unknown }
  }

  /// Flips the bit if this is the fault's rank and step.
  ///
  /// - Precondition: The model has the tensor, and the tensor has the element.
  func apply(to model: ModelState, rank: Int, after step: Int) {
    guard rank == self.rank, step == self.step else { return }
    for store in model.replicatedStores {
      guard let parameter = store.layout[tensor] else { continue }
      let value = store[parameter][element]
      store[parameter][element] = Float(bitPattern: value.bitPattern ^ 1 << UInt32(bit))
      return
    }
    preconditionFailure("the model has no tensor \(tensor) for WRN_FAULT")
  }

  /// A fault that is not allowed or not understood.
  public struct Refused: Error, CustomStringConvertible {
    /// One sentence: what is wrong and how to fix it.
    public let description: String

    init(_ description: String) { self.description = description }
  }
}
