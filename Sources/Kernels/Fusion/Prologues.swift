import Tensors

// What a convolution reads, brought into padded scratch memory in one linear pass over an image.

/// Writes z = max(0, scale·x + shift), or x itself, into a padded image.
///
/// - Parameters:
///   - input: x and how z comes from it.
///   - offset: The first element of the image in x.
///   - image: Where z goes; its border is left alone.
///   - channels: C.
func applyInputPrologue(
  _ input: ConvolutionInput, offset: Int, into image: PaddedImage, channels: Int
) {
  let x = input.activation + offset
  let rowCount = image.width * channels
  guard let map = input.normalization else {
    for y in 0..<image.height { image.row(y).update(from: x + y * rowCount, count: rowCount) }
    return
  }
  guard ChannelBlock.covers(channels: channels, imageWidth: image.width) else {
    for y in 0..<image.height {
      let (source, target) = (x + y * rowCount, image.row(y))
      for i in 0..<rowCount {
        let value = map.shift[i % channels].addingProduct(map.scale[i % channels], source[i])
        target[i] = value < 0 ? 0 : value
      }
    }
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: image.width) { slice in
    let (scale, shift) = (slice.coefficients(map.scale), slice.coefficients(map.shift))
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    for y in 0..<image.height {
      var (source, target) = (x + y &* rowCount, image.row(y))
      for _ in 0..<groups {
        shift.addingProduct(scale, VectorX4(source, offsets)).rectified.store(target, offsets)
        source += step
        target += step
      }
    }
  }
}

/// Writes dY = (ca·g + cb·y + cc, or g) (+ addend) into a padded image, keeps it for a skip connection and adds it up per
/// channel if asked.
///
/// - Parameters:
///   - operand: What dY comes from.
///   - offset: The first element of the image in all its tensors.
///   - image: Where dY goes; its border is left alone.
///   - channels: K.
///   - biasGradient: K sums that dY is added to; nil without a bias.
func applyOutputGradientPrologue(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  guard ChannelBlock.covers(channels: channels, imageWidth: image.width) else {
    writeOutputGradientScalar(
      operand, offset: offset, into: image, channels: channels, biasGradient: biasGradient)
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: image.width) { slice in
    let pass = OutputGradientPass(
      operand, offset: offset, image: image, channels: channels, slice: slice,
      biasGradient: biasGradient)
    // The forms that a step has, each with a loop of its own: what is nil for all pixels is not asked for at each.
    switch (operand.normalization?.activation, operand.addend, operand.savedGradient) {
    case (nil, nil, nil): pass.run(y: nil, addend: nil, stored: nil)
    case (let y?, nil, nil): pass.run(y: y, addend: nil, stored: nil)
    case (let y?, nil, let stored?): pass.run(y: y, addend: nil, stored: stored)
    case (let y?, let addend?, let stored?): pass.run(y: y, addend: addend, stored: stored)
    case (let y, let addend, let stored): pass.run(y: y, addend: addend, stored: stored)
    }
  }
}

/// ``applyOutputGradientPrologue(_:offset:into:channels:biasGradient:)`` for one slice of channels.
private struct OutputGradientPass {
  private let gradient: UnsafePointer<Float>
  private let ca: VectorX4
  private let cb: VectorX4
  private let cc: VectorX4
  private let offset: Int
  private let image: PaddedImage
  private let rowCount: Int
  private let slice: ChannelBlock
  private let biasGradient: UnsafeMutablePointer<Float>?

  init(
    _ operand: ConvolutionOutputGradient, offset: Int, image: PaddedImage, channels: Int,
    slice: ChannelBlock, biasGradient: UnsafeMutablePointer<Float>?
  ) {
    gradient = operand.gradient
    let map = operand.normalization
    ca = map.map { slice.coefficients($0.gradientScale) } ?? VectorX4()
    cb = map.map { slice.coefficients($0.activationScale) } ?? VectorX4()
    cc = map.map { slice.coefficients($0.constant) } ?? VectorX4()
    self.offset = offset
    self.image = image
    rowCount = image.width * channels
    self.slice = slice
    self.biasGradient = biasGradient
  }

  @inline(__always)
  func run(
    y: UnsafePointer<Float>?, addend: UnsafePointer<Float>?, stored: UnsafeMutablePointer<Float>?
  ) {
    let (ca, cb, cc, gradient) = (ca, cb, cc, gradient)
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    var sums = VectorX4()
    for row in 0..<image.height {
      var (i, target) = (offset &+ row &* rowCount, image.row(row))
      for _ in 0..<groups {
        var value = VectorX4(gradient + i, offsets)
        if let y { value = cc.addingProduct(cb, VectorX4(y + i, offsets)).addingProduct(ca, value) }
        if let addend { value = value + VectorX4(addend + i, offsets) }
        if let stored { value.store(stored + i, offsets) }
        value.store(target, offsets)
        sums = sums + value
        i &+= step
        target += step
      }
      if let biasGradient, (row + 1).isMultiple(of: slice.rowsPerFlush) || row == image.height - 1 {
        slice.add(sums, to: biasGradient)
        sums = VectorX4()
      }
    }
  }
}

private func writeOutputGradientScalar(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  for row in 0..<image.height {
    for pixel in 0..<image.width {
      let i = offset + (row * image.width + pixel) * channels
      let target = image.row(row) + pixel * image.pixelStride
      for k in 0..<channels {
        var value = operand.gradient[i + k]
        if let map = operand.normalization {
          value = map.constant[k].addingProduct(map.activationScale[k], map.activation[i + k])
            .addingProduct(map.gradientScale[k], value)
        }
        if let addend = operand.addend { value += addend[i + k] }
        operand.savedGradient?[i + k] = value
        target[k] = value
        biasGradient?[k] += value
      }
    }
  }
}
