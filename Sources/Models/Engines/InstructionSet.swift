import Kernels
import Tensors

#if arch(x86_64)
  import KernelsAVX512
#endif

/// The instruction sets that the native kernels are built for, widest first.
public enum InstructionSet: String, Sendable, CaseIterable {
  #if arch(x86_64)
    /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
    case avx512
    /// x86-64-v3: AVX2 and FMA.
    case avx2
  #else
    /// The baseline of 64-bit ARM.
    case neon
  #endif

  /// Whether this CPU and its operating system can run the kernels.
  public var isSupported: Bool {
    #if arch(x86_64)
      isSupported(by: .current)
    #else
      true
    #endif
  }

  #if arch(x86_64)
    /// Whether a CPU with these features can run the kernels, a function of the feature bits alone.
    package func isSupported(by features: CPUFeatures) -> Bool {
      switch self {
      case .avx512: features.contains(.x86V4)
      case .avx2: features.contains(.x86V3)
      }
    }
  #endif

  /// The kernels compiled for this instruction set.
  ///
  /// - Precondition: ``isSupported``. Even the creation of the table may use the set's instructions.
  public var kernels: ConvolutionKernelTable {
    precondition(isSupported, "kernels for \(rawValue) on a CPU without it")
    return switch self {
    #if arch(x86_64)
      case .avx512: KernelsAVX512.KernelBuild.kernels()
      case .avx2: Kernels.KernelBuild.kernels()
    #else
      case .neon: Kernels.KernelBuild.kernels()
    #endif
    }
  }

  /// The loops compiled for this instruction set that measure the CPU's roofline.
  ///
  /// - Precondition: ``isSupported``.
  public var peakKernels: RooflineKernels {
    precondition(isSupported, "loops for \(rawValue) on a CPU without it")
    return switch self {
    #if arch(x86_64)
      case .avx512: KernelsAVX512.KernelBuild.peakKernels()
      case .avx2: Kernels.KernelBuild.peakKernels()
    #else
      case .neon: Kernels.KernelBuild.peakKernels()
    #endif
    }
  }

  /// Selects the requested instruction set, or the widest that this CPU supports.
  ///
  /// - Parameter requested: The value of `WRN_ISA`. If `nil` or empty, the widest set is selected.
  /// - Returns: The set, or `nil` if the CPU supports none.
  /// - Throws: ``Unavailable`` if the requested set is unknown or not supported.
  public static func select(requested: String?) throws -> InstructionSet? {
    guard let requested, !requested.isEmpty else { return allCases.first(where: \.isSupported) }
    guard let found = InstructionSet(rawValue: requested), found.isSupported else {
      throw Unavailable(requested: requested)
    }
    return found
  }

  /// A request for an instruction set that is unknown or that this CPU does not support.
  public struct Unavailable: Error, CustomStringConvertible {
    /// The requested name.
    public let requested: String

    /// One sentence: the problem and the remedy.
    public var description: String {
      let usable = allCases.filter(\.isSupported).map(\.rawValue)
      let problem =
        InstructionSet(rawValue: requested) == nil
        ? "is not an instruction set that kernels are built for" : "is not supported by this CPU"
      let remedy =
        usable.isEmpty
        ? "unset it; this CPU computes with --engine blas"
        : "unset it or set it to \(usable.joined(separator: " or "))"
      return "WRN_ISA=\(requested) \(problem); \(remedy)."
    }
  }
}
