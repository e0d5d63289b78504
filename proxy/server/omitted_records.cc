#include "proxy/server/omitted_records.h"

#include <chrono>

#include "proxy/diagnostics/audit.h"

namespace pgveil::proxy {
namespace {

constexpr std::chrono::seconds kReportPause{1};

}  // namespace

OmittedRecords::OmittedRecords(uv_loop_t* loop) : pause_(loop, *this), first_omitted_(new uv_async_t) {
  uv_async_init(loop, first_omitted_.get(),
                [](uv_async_t* rung) { static_cast<OmittedRecords*>(rung->data)->pause_.set(kReportPause); });
  first_omitted_->data = this;
  // The timer is made here: there may be no memory for it later.
  pause_.set(kReportPause);
  pause_.clear();
  on_omitted_record([rung = first_omitted_.get()] { uv_async_send(rung); });
}

OmittedRecords::~OmittedRecords() {
  on_omitted_record(nullptr);
}

void OmittedRecords::wake() {
  write_omitted_records();
}

}  // namespace pgveil::proxy
