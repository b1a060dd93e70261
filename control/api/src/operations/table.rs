//! The table of operations, by path. `-` is what is not built.

super::operations! {
    "/accounts" => {
        Get Account => "accounts-list-accounts",
        Post Account => "account-creation",
    }
    "/accounts/{account_id}" => {
        Get Account => "accounts-account-details",
        Put Account => "accounts-update-account",
        Delete Account => "account-deletion",
    }
    "/accounts/{account_id}/alerting/v3/available_alerts" => {
        Get AvailableAlerts => "notification-alert-types-get-alert-types",
    }
    "/accounts/{account_id}/alerting/v3/destinations/eligible" => {
        Get - => "notification-mechanism-eligibility-get-delivery-mechanism-eligibility",
    }
    "/accounts/{account_id}/alerting/v3/destinations/pagerduty" => {
        Get - => "notification-destinations-with-pager-duty-list-pager-duty-services",
        Delete - => "notification-destinations-with-pager-duty-delete-pager-duty-services",
    }
    "/accounts/{account_id}/alerting/v3/destinations/pagerduty/connect" => {
        Post - => "notification-destinations-with-pager-duty-connect-pager-duty",
    }
    "/accounts/{account_id}/alerting/v3/destinations/pagerduty/connect/{token_id}" => {
        Get - => "notification-destinations-with-pager-duty-connect-pager-duty-token",
    }
    "/accounts/{account_id}/alerting/v3/destinations/webhooks" => {
        Get Webhook => "notification-webhooks-list-webhooks",
        Post Webhook => "notification-webhooks-create-a-webhook",
    }
    "/accounts/{account_id}/alerting/v3/destinations/webhooks/{webhook_id}" => {
        Get Webhook => "notification-webhooks-get-a-webhook",
        Put Webhook => "notification-webhooks-update-a-webhook",
        Delete Webhook => "notification-webhooks-delete-a-webhook",
    }
    "/accounts/{account_id}/alerting/v3/history" => {
        Get AlertHistory => "notification-history-list-history",
    }
    "/accounts/{account_id}/alerting/v3/policies" => {
        Get Policy => "notification-policies-list-notification-policies",
        Post Policy => "notification-policies-create-a-notification-policy",
    }
    "/accounts/{account_id}/alerting/v3/policies/{policy_id}" => {
        Get Policy => "notification-policies-get-a-notification-policy",
        Put Policy => "notification-policies-update-a-notification-policy",
        Delete Policy => "notification-policies-delete-a-notification-policy",
    }
    "/accounts/{account_id}/alerting/v3/policies/{policy_id}/email/unsubscribe" => {
        Get - => "notification-policies-show-email-unsubscribe-details",
        Post - => "notification-policies-unsubscribe-email-from-notification-policy",
    }
    "/accounts/{account_id}/alerting/v3/policies/{policy_id}/test" => {
        Post - => "notification-policies-test-a-notification-policy",
    }
    "/accounts/{account_id}/alerting/v3/silences" => {
        Get - => "notification-silences-list-silences",
        Post - => "notification-silences-create-silences",
        Put - => "notification-silences-update-silences",
    }
    "/accounts/{account_id}/alerting/v3/silences/{silence_id}" => {
        Get - => "notification-silences-get-silence",
        Delete - => "notification-silences-delete-silences",
    }
    "/accounts/{account_id}/calls/apps" => {
        Get - => "calls-apps-list",
        Post - => "calls-apps-create-a-new-app",
    }
    "/accounts/{account_id}/calls/apps/{app_id}" => {
        Get - => "calls-apps-retrieve-app-details",
        Put - => "calls-apps-update-app-details",
        Delete - => "calls-apps-delete-app",
    }
    "/accounts/{account_id}/calls/turn_keys" => {
        Get - => "calls-turn-key-list",
        Post - => "calls-turn-key-create",
    }
    "/accounts/{account_id}/calls/turn_keys/{key_id}" => {
        Get - => "calls-retrieve-turn-key-details",
        Put - => "calls-update-turn-key",
        Delete - => "calls-delete-turn-key",
    }
    "/accounts/{account_id}/cfd_tunnel" => {
        Get - => "cloudflare-tunnel-list-cloudflare-tunnels",
        Post - => "cloudflare-tunnel-create-a-cloudflare-tunnel",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}" => {
        Get - => "cloudflare-tunnel-get-a-cloudflare-tunnel",
        Patch - => "cloudflare-tunnel-update-a-cloudflare-tunnel",
        Delete - => "cloudflare-tunnel-delete-a-cloudflare-tunnel",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations" => {
        Get - => "cloudflare-tunnel-configuration-get-configuration",
        Put - => "cloudflare-tunnel-configuration-put-configuration",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connections" => {
        Get - => "cloudflare-tunnel-list-cloudflare-tunnel-connections",
        Delete - => "cloudflare-tunnel-clean-up-cloudflare-tunnel-connections",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/connectors/{connector_id}" => {
        Get - => "cloudflare-tunnel-get-cloudflare-tunnel-connector",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/management" => {
        Post - => "cloudflare-tunnel-get-a-cloudflare-tunnel-management-token",
    }
    "/accounts/{account_id}/cfd_tunnel/{tunnel_id}/token" => {
        Get - => "cloudflare-tunnel-get-a-cloudflare-tunnel-token",
    }
    "/accounts/{account_id}/load_balancers/monitor_groups" => {
        Get MonitorGroup => "account-load-balancer-monitor-groups-list-monitor-groups",
        Post MonitorGroup => "account-load-balancer-monitor-groups-create-monitor-group",
    }
    "/accounts/{account_id}/load_balancers/monitor_groups/{monitor_group_id}" => {
        Get MonitorGroup => "account-load-balancer-monitor-groups-monitor-group-details",
        Put MonitorGroup => "account-load-balancer-monitor-groups-update-monitor-group",
        Patch MonitorGroup => "account-load-balancer-monitor-groups-patch-monitor-group",
        Delete MonitorGroup => "account-load-balancer-monitor-groups-delete-monitor-group",
    }
    "/accounts/{account_id}/load_balancers/monitor_groups/{monitor_group_id}/references" => {
        Get References => "account-load-balancer-monitor-groups-list-monitor-group-references",
    }
    "/accounts/{account_id}/load_balancers/monitors" => {
        Get Monitor => "account-load-balancer-monitors-list-monitors",
        Post Monitor => "account-load-balancer-monitors-create-monitor",
    }
    "/accounts/{account_id}/load_balancers/monitors/{monitor_id}" => {
        Get Monitor => "account-load-balancer-monitors-monitor-details",
        Put Monitor => "account-load-balancer-monitors-update-monitor",
        Patch Monitor => "account-load-balancer-monitors-patch-monitor",
        Delete Monitor => "account-load-balancer-monitors-delete-monitor",
    }
    "/accounts/{account_id}/load_balancers/monitors/{monitor_id}/preview" => {
        Post Preview => "account-load-balancer-monitors-preview-monitor",
    }
    "/accounts/{account_id}/load_balancers/monitors/{monitor_id}/references" => {
        Get References => "account-load-balancer-monitors-list-monitor-references",
    }
    "/accounts/{account_id}/load_balancers/pools" => {
        Get Pool => "account-load-balancer-pools-list-pools",
        Post Pool => "account-load-balancer-pools-create-pool",
        Patch Pool => "account-load-balancer-pools-patch-pools",
    }
    "/accounts/{account_id}/load_balancers/pools/{pool_id}" => {
        Get Pool => "account-load-balancer-pools-pool-details",
        Put Pool => "account-load-balancer-pools-update-pool",
        Patch Pool => "account-load-balancer-pools-patch-pool",
        Delete Pool => "account-load-balancer-pools-delete-pool",
    }
    "/accounts/{account_id}/load_balancers/pools/{pool_id}/health" => {
        Get PoolHealth => "account-load-balancer-pools-pool-health-details",
    }
    "/accounts/{account_id}/load_balancers/pools/{pool_id}/preview" => {
        Post Preview => "account-load-balancer-pools-preview-pool",
    }
    "/accounts/{account_id}/load_balancers/pools/{pool_id}/references" => {
        Get References => "account-load-balancer-pools-list-pool-references",
    }
    "/accounts/{account_id}/load_balancers/preview/{preview_id}" => {
        Get Preview => "account-load-balancer-monitors-preview-result",
    }
    "/accounts/{account_id}/load_balancers/regions" => {
        Get Region => "load-balancer-regions-list-regions",
    }
    "/accounts/{account_id}/load_balancers/regions/{region_id}" => {
        Get Region => "load-balancer-regions-get-region",
    }
    "/accounts/{account_id}/load_balancers/search" => {
        Get Search => "account-load-balancer-search-search-resources",
    }
    "/accounts/{account_id}/load_balancers/usage" => {
        Get Usage => "account-load-balancers-list-load-balancer-usage",
    }
    "/accounts/{account_id}/magic/gre_tunnels" => {
        Get - => "magic-gre-tunnels-list-gre-tunnels",
        Post - => "magic-gre-tunnels-create-gre-tunnels",
        Put - => "magic-gre-tunnels-update-multiple-gre-tunnels",
    }
    "/accounts/{account_id}/magic/gre_tunnels/{gre_tunnel_id}" => {
        Get - => "magic-gre-tunnels-list-gre-tunnel-details",
        Put - => "magic-gre-tunnels-update-gre-tunnel",
        Delete - => "magic-gre-tunnels-delete-gre-tunnel",
    }
    "/accounts/{account_id}/magic/ipsec_tunnels" => {
        Get - => "magic-ipsec-tunnels-list-ipsec-tunnels",
        Post - => "magic-ipsec-tunnels-create-ipsec-tunnels",
        Put - => "magic-ipsec-tunnels-update-multiple-ipsec-tunnels",
    }
    "/accounts/{account_id}/magic/ipsec_tunnels/psk" => {
        Post - => "magic-ipsec-tunnels-set-pre-shared-keys-for-ipsec-tunnels",
    }
    "/accounts/{account_id}/magic/ipsec_tunnels/{ipsec_tunnel_id}" => {
        Get - => "magic-ipsec-tunnels-list-ipsec-tunnel-details",
        Put - => "magic-ipsec-tunnels-update-ipsec-tunnel",
        Delete - => "magic-ipsec-tunnels-delete-ipsec-tunnel",
    }
    "/accounts/{account_id}/magic/ipsec_tunnels/{ipsec_tunnel_id}/psk_generate" => {
        Post - => "magic-ipsec-tunnels-generate-pre-shared-key-(-psk)-for-ipsec-tunnels",
    }
    "/accounts/{account_id}/magic/routes" => {
        Get - => "magic-static-routes-list-routes",
        Post - => "magic-static-routes-create-routes",
        Put - => "magic-static-routes-update-many-routes",
        Delete - => "magic-static-routes-delete-many-routes",
    }
    "/accounts/{account_id}/magic/routes/{route_id}" => {
        Get - => "magic-static-routes-route-details",
        Put - => "magic-static-routes-update-route",
        Delete - => "magic-static-routes-delete-route",
    }
    "/accounts/{account_id}/mtls_certificates" => {
        Get - => "m-tls-certificate-management-list-m-tls-certificates",
        Post - => "m-tls-certificate-management-upload-m-tls-certificate",
    }
    "/accounts/{account_id}/mtls_certificates/{mtls_certificate_id}" => {
        Get - => "m-tls-certificate-management-get-m-tls-certificate",
        Delete - => "m-tls-certificate-management-delete-m-tls-certificate",
    }
    "/accounts/{account_id}/mtls_certificates/{mtls_certificate_id}/associations" => {
        Get - => "m-tls-certificate-management-list-m-tls-certificate-associations",
    }
    "/accounts/{account_id}/rules/lists" => {
        Get - => "lists-get-lists",
        Post - => "lists-create-a-list",
    }
    "/accounts/{account_id}/rules/lists/bulk_operations/{operation_id}" => {
        Get - => "lists-get-bulk-operation-status",
    }
    "/accounts/{account_id}/rules/lists/{list_id}" => {
        Get - => "lists-get-a-list",
        Put - => "lists-update-a-list",
        Delete - => "lists-delete-a-list",
    }
    "/accounts/{account_id}/rules/lists/{list_id}/items" => {
        Get - => "lists-get-list-items",
        Post - => "lists-create-list-items",
        Put - => "lists-update-all-list-items",
        Delete - => "lists-delete-list-items",
    }
    "/accounts/{account_id}/rules/lists/{list_id}/items/{item_id}" => {
        Get - => "lists-get-a-list-item",
    }
    "/accounts/{account_id}/teamnet/routes" => {
        Get - => "tunnel-route-list-tunnel-routes",
        Post - => "tunnel-route-create-a-tunnel-route",
    }
    "/accounts/{account_id}/teamnet/routes/ip/{ip}" => {
        Get - => "tunnel-route-get-tunnel-route-by-ip",
    }
    "/accounts/{account_id}/teamnet/routes/network/{ip_network_encoded}" => {
        Post - => "tunnel-route-create-a-tunnel-route-with-cidr",
        Patch - => "tunnel-route-update-a-tunnel-route-with-cidr",
        Delete - => "tunnel-route-delete-a-tunnel-route-with-cidr",
    }
    "/accounts/{account_id}/teamnet/routes/{route_id}" => {
        Get - => "tunnel-route-get-tunnel-route",
        Patch - => "tunnel-route-update-a-tunnel-route",
        Delete - => "tunnel-route-delete-a-tunnel-route",
    }
    "/accounts/{account_id}/teamnet/virtual_networks" => {
        Get - => "tunnel-virtual-network-list-virtual-networks",
        Post - => "tunnel-virtual-network-create-a-virtual-network",
    }
    "/accounts/{account_id}/teamnet/virtual_networks/{virtual_network_id}" => {
        Get - => "tunnel-virtual-network-get",
        Patch - => "tunnel-virtual-network-update",
        Delete - => "tunnel-virtual-network-delete",
    }
    "/accounts/{account_id}/tokens/verify" => {
        Get TokenVerify => "account-api-tokens-verify-token",
    }
    "/accounts/{account_id}/tunnels" => {
        Get - => "cloudflare-tunnel-list-all-tunnels",
    }
    "/ips" => {
        Get Ips => "cloudflare-ips-cloudflare-ip-details",
    }
    "/user" => {
        Get User => "user-user-details",
        Patch User => "user-edit-user",
    }
    "/user/load_balancers/monitors" => {
        Get Monitor => "load-balancer-monitors-list-monitors",
        Post Monitor => "load-balancer-monitors-create-monitor",
    }
    "/user/load_balancers/monitors/{monitor_id}" => {
        Get Monitor => "load-balancer-monitors-monitor-details",
        Put Monitor => "load-balancer-monitors-update-monitor",
        Patch Monitor => "load-balancer-monitors-patch-monitor",
        Delete Monitor => "load-balancer-monitors-delete-monitor",
    }
    "/user/load_balancers/monitors/{monitor_id}/preview" => {
        Post Preview => "load-balancer-monitors-preview-monitor",
    }
    "/user/load_balancers/monitors/{monitor_id}/references" => {
        Get References => "load-balancer-monitors-list-monitor-references",
    }
    "/user/load_balancers/pools" => {
        Get Pool => "load-balancer-pools-list-pools",
        Post Pool => "load-balancer-pools-create-pool",
        Patch Pool => "load-balancer-pools-patch-pools",
    }
    "/user/load_balancers/pools/{pool_id}" => {
        Get Pool => "load-balancer-pools-pool-details",
        Put Pool => "load-balancer-pools-update-pool",
        Patch Pool => "load-balancer-pools-patch-pool",
        Delete Pool => "load-balancer-pools-delete-pool",
    }
    "/user/load_balancers/pools/{pool_id}/health" => {
        Get PoolHealth => "load-balancer-pools-pool-health-details",
    }
    "/user/load_balancers/pools/{pool_id}/preview" => {
        Post Preview => "load-balancer-pools-preview-pool",
    }
    "/user/load_balancers/pools/{pool_id}/references" => {
        Get References => "load-balancer-pools-list-pool-references",
    }
    "/user/load_balancers/preview/{preview_id}" => {
        Get Preview => "load-balancer-monitors-preview-result",
    }
    "/user/load_balancers/regions" => {
        Get Region => "user-load-balancer-regions-list-regions",
    }
    "/user/load_balancing_analytics/events" => {
        Get - => "load-balancer-healthcheck-events-list-healthcheck-events",
    }
    "/user/tokens/verify" => {
        Get TokenVerify => "user-api-tokens-verify-token",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/load_balancers" => {
        Get LoadBalancer => "list-account-or-zone-load-balancers",
        Post LoadBalancer => "create-account-or-zone-load-balancer",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/load_balancers/{load_balancer_id}" => {
        Get LoadBalancer => "account-or-zone-load-balancer-details",
        Put LoadBalancer => "update-account-or-zone-load-balancer",
        Patch LoadBalancer => "patch-account-or-zone-load-balancer",
        Delete LoadBalancer => "delete-account-or-zone-load-balancer",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets" => {
        Get - => "list-account-or-zone-rulesets",
        Post - => "create-an-account-or-zone-ruleset",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets/phases/{ruleset_phase}/entrypoint" => {
        Get - => "get-an-account-or-zone-entry-point-ruleset",
        Put - => "update-an-account-or-zone-entry-point-ruleset",
    }
    concat!(
        "/{accounts_or_zones}/{account_or_zone_id}/rulesets/phases/{ruleset_phase}",
        "/entrypoint/versions"
    ) => {
        Get - => "list-an-account-or-zone-entry-point-ruleset-versions",
    }
    concat!(
        "/{accounts_or_zones}/{account_or_zone_id}/rulesets/phases/{ruleset_phase}",
        "/entrypoint/versions/{ruleset_version}"
    ) => {
        Get - => "get-an-account-or-zone-entry-point-ruleset-version",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}" => {
        Get - => "get-an-account-or-zone-ruleset",
        Put - => "update-an-account-or-zone-ruleset",
        Delete - => "delete-an-account-or-zone-ruleset",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}/rules" => {
        Post - => "create-an-account-or-zone-ruleset-rule",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}/rules/{rule_id}" => {
        Patch - => "update-an-account-or-zone-ruleset-rule",
        Delete - => "delete-an-account-or-zone-ruleset-rule",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}/versions" => {
        Get - => "list-an-account-or-zone-ruleset-versions",
    }
    concat!(
        "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}/versions",
        "/{ruleset_version}"
    ) => {
        Get - => "get-an-account-or-zone-ruleset-version",
        Delete - => "delete-an-account-or-zone-ruleset-version",
    }
    concat!(
        "/{accounts_or_zones}/{account_or_zone_id}/rulesets/{ruleset_id}/versions",
        "/{ruleset_version}/by_tag/{rule_tag}"
    ) => {
        Get - => "list-an-account-or-zone-ruleset-version-rules-by-tag",
    }
    "/{accounts_or_zones}/{account_or_zone_id}/waiting_rooms" => {
        Get - => "list-waiting-rooms-for-account-or-zone",
    }
    "/zones" => {
        Get Zone => "zones-get",
        Post Zone => "zones-post",
    }
    "/zones/{zone_id}" => {
        Get Zone => "zones-0-get",
        Patch Zone => "zones-0-patch",
        Delete Zone => "zones-0-delete",
    }
    "/zones/{zone_id}/argo/tiered_caching" => {
        Get - => "tiered-caching-get-tiered-caching-setting",
        Patch - => "tiered-caching-patch-tiered-caching-setting",
    }
    "/zones/{zone_id}/cache/cache_reserve" => {
        Get - => "zone-cache-settings-get-cache-reserve-setting",
        Patch - => "zone-cache-settings-change-cache-reserve-setting",
    }
    "/zones/{zone_id}/cache/cache_reserve_clear" => {
        Get - => "zone-cache-settings-get-cache-reserve-clear",
        Post - => "zone-cache-settings-start-cache-reserve-clear",
    }
    "/zones/{zone_id}/cache/regional_tiered_cache" => {
        Get - => "zone-cache-settings-get-regional-tiered-cache-setting",
        Patch - => "zone-cache-settings-change-regional-tiered-cache-setting",
    }
    "/zones/{zone_id}/cache/tiered_cache_smart_topology_enable" => {
        Get - => "smart-tiered-cache-get-smart-tiered-cache-setting",
        Post - => "smart-tiered-cache-create-smart-tiered-cache-setting",
        Patch - => "smart-tiered-cache-patch-smart-tiered-cache-setting",
        Delete - => "smart-tiered-cache-delete-smart-tiered-cache-setting",
    }
    "/zones/{zone_id}/dns_records" => {
        Get - => "dns-records-for-a-zone-list-dns-records",
        Post - => "dns-records-for-a-zone-create-dns-record",
    }
    "/zones/{zone_id}/dns_records/{dns_record_id}" => {
        Get - => "dns-records-for-a-zone-dns-record-details",
        Put - => "dns-records-for-a-zone-update-dns-record",
        Patch - => "dns-records-for-a-zone-patch-dns-record",
        Delete - => "dns-records-for-a-zone-delete-dns-record",
    }
    "/zones/{zone_id}/healthchecks" => {
        Get Healthcheck => "health-checks-list-health-checks",
        Post Healthcheck => "health-checks-create-health-check",
    }
    "/zones/{zone_id}/healthchecks/preview" => {
        Post HealthcheckPreview => "health-checks-create-preview-health-check",
    }
    "/zones/{zone_id}/healthchecks/preview/{healthcheck_id}" => {
        Get HealthcheckPreview => "health-checks-health-check-preview-details",
        Delete HealthcheckPreview => "health-checks-delete-preview-health-check",
    }
    "/zones/{zone_id}/healthchecks/{healthcheck_id}" => {
        Get Healthcheck => "health-checks-health-check-details",
        Put Healthcheck => "health-checks-update-health-check",
        Patch Healthcheck => "health-checks-patch-health-check",
        Delete Healthcheck => "health-checks-delete-health-check",
    }
    "/zones/{zone_id}/keyless_certificates" => {
        Get - => "keyless-ssl-for-a-zone-list-keyless-ssl-configurations",
        Post - => "keyless-ssl-for-a-zone-create-keyless-ssl-configuration",
    }
    "/zones/{zone_id}/keyless_certificates/{keyless_certificate_id}" => {
        Get - => "keyless-ssl-for-a-zone-get-keyless-ssl-configuration",
        Patch - => "keyless-ssl-for-a-zone-edit-keyless-ssl-configuration",
        Delete - => "keyless-ssl-for-a-zone-delete-keyless-ssl-configuration",
    }
    "/zones/{zone_id}/origin_tls_client_auth" => {
        Get - => "zone-level-authenticated-origin-pulls-list-certificates",
        Post - => "zone-level-authenticated-origin-pulls-upload-certificate",
    }
    "/zones/{zone_id}/origin_tls_client_auth/hostnames" => {
        Get - => "per-hostname-authenticated-origin-pull-list-hostname-associations",
        Put - => concat!(
            "per-hostname-authenticated-origin-pull-enable-or-disable-a-hostname-for",
            "-client-authentication"
        ),
    }
    "/zones/{zone_id}/origin_tls_client_auth/hostnames/certificates" => {
        Get - => "per-hostname-authenticated-origin-pull-list-certificates",
        Post - => "per-hostname-authenticated-origin-pull-upload-a-hostname-client-certificate",
    }
    "/zones/{zone_id}/origin_tls_client_auth/hostnames/certificates/{certificate_id}" => {
        Get - => "per-hostname-authenticated-origin-pull-get-the-hostname-client-certificate",
        Delete - => "per-hostname-authenticated-origin-pull-delete-hostname-client-certificate",
    }
    "/zones/{zone_id}/origin_tls_client_auth/hostnames/{hostname}" => {
        Get - => concat!(
            "per-hostname-authenticated-origin-pull-get-the-hostname-status-for-client",
            "-authentication"
        ),
    }
    "/zones/{zone_id}/origin_tls_client_auth/settings" => {
        Get - => "zone-level-authenticated-origin-pulls-get-enablement-setting-for-zone",
        Put - => "zone-level-authenticated-origin-pulls-set-enablement-for-zone",
    }
    "/zones/{zone_id}/origin_tls_client_auth/{certificate_id}" => {
        Get - => "zone-level-authenticated-origin-pulls-get-certificate-details",
        Delete - => "zone-level-authenticated-origin-pulls-delete-certificate",
    }
    "/zones/{zone_id}/purge_cache" => {
        Post - => "zone-purge",
    }
    "/zones/{zone_id}/rate_limits" => {
        Get - => "rate-limits-for-a-zone-list-rate-limits",
        Post - => "rate-limits-for-a-zone-create-a-rate-limit",
    }
    "/zones/{zone_id}/rate_limits/{rate_limit_id}" => {
        Get - => "rate-limits-for-a-zone-get-a-rate-limit",
        Put - => "rate-limits-for-a-zone-update-a-rate-limit",
        Delete - => "rate-limits-for-a-zone-delete-a-rate-limit",
    }
    "/zones/{zone_id}/spectrum/analytics/aggregate/current" => {
        Get - => "spectrum-aggregate-analytics-get-current-aggregated-analytics",
    }
    "/zones/{zone_id}/spectrum/analytics/events/bytime" => {
        Get - => "spectrum-analytics-(-by-time)-get-analytics-by-time",
    }
    "/zones/{zone_id}/spectrum/analytics/events/summary" => {
        Get - => "spectrum-analytics-(-summary)-get-analytics-summary",
    }
    "/zones/{zone_id}/spectrum/apps" => {
        Get - => "spectrum-applications-list-spectrum-applications",
        Post - => "spectrum-applications-create-spectrum-application-using-a-name-for-the-origin",
    }
    "/zones/{zone_id}/spectrum/apps/{app_id}" => {
        Get - => "spectrum-applications-get-spectrum-application-configuration",
        Put - => concat!(
            "spectrum-applications-update-spectrum-application-configuration-using-a",
            "-name-for-the-origin"
        ),
        Delete - => "spectrum-applications-delete-spectrum-application",
    }
    "/zones/{zone_id}/waiting_rooms" => {
        Post - => "waiting-room-create-waiting-room",
    }
    "/zones/{zone_id}/waiting_rooms/preview" => {
        Post - => "waiting-room-create-a-custom-waiting-room-page-preview",
    }
    "/zones/{zone_id}/waiting_rooms/settings" => {
        Get - => "waiting-room-get-zone-settings",
        Put - => "waiting-room-update-zone-settings",
        Patch - => "waiting-room-patch-zone-settings",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}" => {
        Get - => "waiting-room-waiting-room-details",
        Put - => "waiting-room-update-waiting-room",
        Patch - => "waiting-room-patch-waiting-room",
        Delete - => "waiting-room-delete-waiting-room",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/events" => {
        Get - => "waiting-room-list-events",
        Post - => "waiting-room-create-event",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/events/{event_id}" => {
        Get - => "waiting-room-event-details",
        Put - => "waiting-room-update-event",
        Patch - => "waiting-room-patch-event",
        Delete - => "waiting-room-delete-event",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/events/{event_id}/details" => {
        Get - => "waiting-room-preview-active-event-details",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/rules" => {
        Get - => "waiting-room-list-waiting-room-rules",
        Post - => "waiting-room-create-waiting-room-rule",
        Put - => "waiting-room-replace-waiting-room-rules",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/rules/{rule_id}" => {
        Patch - => "waiting-room-patch-waiting-room-rule",
        Delete - => "waiting-room-delete-waiting-room-rule",
    }
    "/zones/{zone_id}/waiting_rooms/{waiting_room_id}/status" => {
        Get - => "waiting-room-get-waiting-room-status",
    }
}
